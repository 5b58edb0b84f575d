"""SIGKILL of the training process at random instants, then `detour run` again, until the chain is done.

    python tests/benchmarks/kill_run.py [KILLS] [SEED]

Prints how many kills hit each phase and whether they hit a checkpoint being written, and compares the weights of every
phase with those of an undisturbed run: equal to the bit, or exit code 1.
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
    """The pretrain stage that runs now and its process, from the newest attempt file of a stage that is not done."""
    for folder in workspace.glob("stages/pretrain-*"):
        attempts = sorted((folder / "attempts").glob("*.json"))
        if attempts and not (folder / "output" / "manifest.json").exists():
            pid = json.loads(attempts[-1].read_text() or "{}").get("pid")
            if pid and Path(f"/proc/{pid}").exists():
                return folder.name, pid
    return None


def label(workspace: Path, stage: str) -> str:
    return str(json.loads((workspace / "stages" / stage / "stage.json").read_text())["label"])


def kill_once(workspace: Path, delay_s: float, hits: Counter[str]) -> None:
    """Start the chain, wait until a training has run for `delay_s`, kill it, and wait for the command to notice."""
    process = subprocess.Popen(run_command(workspace), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        found = training(workspace)
        if found is not None:
            stage, pid = found
            time.sleep(delay_s)
            writing = any((workspace / "stages" / stage / "work").rglob(".*"))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                break
            hits[label(workspace, stage)] += 1
            hits["while a checkpoint was being written"] += writing
            break
        time.sleep(0.05)
    process.wait()


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
        while sum(count for name, count in hits.items() if name.startswith("pretrain")) < kills:
            # A training that is killed early every time never ends, so most delays leave time for a few checkpoints.
            kill_once(killed, rng.uniform(0.0, 14.0), hits)
            if len(weights(killed)) == 2:
                print("the chain ended before all kills were made; the rest go to a new workspace")
                assert weights(killed) == weights(calm), "the weights differ"
                killed = Path(folder, f"killed-{sum(hits.values())}")
        subprocess.run([*run_command(killed), "--retry"], check=True)
        same = weights(killed) == weights(calm)
    for name, count in sorted(hits.items()):
        print(f"{count:4d}  {name}")
    print("weights of both phases equal to the bit" if same else "THE WEIGHTS DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
