"""SIGKILL of the training process at random instants, then `detour run` again, until the chain is done.

    python tests/benchmarks/kill_run.py [KILLS] [SEED]

Half of the kills are for each phase, and every fourth waits for a checkpoint that is being written. Prints how many hit
what, and compares the weights of every phase, and the tokens that each saw, with those of an undisturbed run: equal to
the bit, or exit code 1.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"
SMALL = [
    "phases.clm.tokens=120k",
    "phases.mlm.tokens=60k",
    "training.checkpoint_every=2",
    "benchmark=null",
]


def run_command(workspace: Path) -> list[str]:
    recipe = str(RECIPES / "quickstart.yaml")
    return [str(Path(sys.executable).parent / "detour"), "run", recipe, *SMALL, "-w", str(workspace), "--quiet"]


def training(workspace: Path) -> tuple[str, int] | None:
    """The pretrain stage that is running and its process, from the newest attempt file of a stage that is not done."""
    for folder in workspace.glob("stages/pretrain-*"):
        attempts = sorted((folder / "attempts").glob("*.json"))
        if attempts and not (folder / "output" / "manifest.json").exists():
            pid = json.loads(attempts[-1].read_text() or "{}").get("pid")
            if pid and Path(f"/proc/{pid}").exists():
                return folder.name, pid
    return None


def label(workspace: Path, stage: str) -> str:
    return str(json.loads((workspace / "stages" / stage / "stage.json").read_text())["label"])


def is_writing(workspace: Path, stage: str, pid: int) -> bool:
    """Checkpoints are written under a hidden name that contains the process id, and renamed."""
    return any((workspace / "stages" / stage / "work").rglob(f".writing-*-{pid}"))


def kill_once(workspace: Path, phase: str, delay_s: float | None, hits: Counter[str]) -> None:
    """Start the chain, let the phase train for `delay_s` (None: until it writes a checkpoint), and kill it."""
    command = [*run_command(workspace), "--retry"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        found = training(workspace)
        if found is None or label(workspace, found[0]) != phase:
            time.sleep(0.05)
            continue
        stage, pid = found
        if delay_s is not None:
            time.sleep(delay_s)
        else:
            while not is_writing(workspace, stage, pid) and process.poll() is None:
                time.sleep(0.001)
        writing = is_writing(workspace, stage, pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            hits[phase] += 1
            hits["of these while a checkpoint was being written"] += writing
        break
    process.wait()


def tokens_seen(workspace: Path) -> dict[str, int]:
    """Label of each training -> tokens, from its result."""
    found = {}
    for manifest in workspace.glob("stages/pretrain-*/output/manifest.json"):
        shown = json.loads(manifest.read_text())["provenance"]
        found[shown["stage"]["label"]] = shown["result"]["tokens"]
    return found


def weights(workspace: Path) -> dict[str, str]:
    """Label of each promotion -> digest of its weights."""
    digests = {}
    for manifest in workspace.glob("stages/promote-*/output/manifest.json"):
        data = json.loads(manifest.read_text())
        digests[data["provenance"]["stage"]["label"]] = data["files"]["model/model.safetensors"]["sha256"]
    return digests


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    hits: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = Path(folder, "calm"), Path(folder, "killed")
        subprocess.run(run_command(calm), check=True)
        for phase, wanted in (("pretrain clm", kills - kills // 2), ("pretrain mlm", kills // 2)):
            while hits[phase] < wanted:
                if phase in tokens_seen(killed):
                    print(f"{phase} ended before all its kills were made; the rest go to a new workspace")
                    killed = Path(folder, f"killed-{sum(hits.values())}")
                kill_once(killed, phase, None if hits[phase] % 4 == 3 else rng.uniform(0.0, 14.0), hits)
        subprocess.run([*run_command(killed), "--retry"], check=True)
        same = weights(killed) == weights(calm) and tokens_seen(killed) == tokens_seen(calm)
        planned = tokens_seen(calm)
    for name, count in hits.items():
        print(f"{count:4d}  {name}")
    print(f"weights of both phases equal to the bit, tokens as planned: {planned}" if same else "THEY DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
