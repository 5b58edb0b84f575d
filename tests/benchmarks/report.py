"""CPU time and size of a report over many attempts: `python -m tests.benchmarks.report [--attempts N]`.

A sweep of 100 chains: shared corpus and phases, evaluations over seeds, every tenth attempt failed and repeated; with
plans, manifests, scores and progress as jobs leave them. Prints the CPU seconds of `detour report` in its own process
next to those of Python's bare reading of the same files, its wall time, and the size of the page.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from detour.ledger.workspace import Workspace
from detour.planning.files import Target, write_plan
from detour.planning.plan import Plan
from detour.planning.stage import EvaluateStage, PretrainStage, Stage
from tests.reporting.fabricate import PROVENANCE
from tests.reporting.worked import CLUSTER, EVENING_S, SITE
from tests.support.past import Past
from tests.support.stages import make_stages

CHAINS, REPOSITORY = 100, Path(__file__).parents[2]
DETOUR = str(Path(sys.executable).parent / "detour")
STEPS = 200
READ = """
import sys
from pathlib import Path
import orjson
root = Path(sys.argv[1])
for path in root.rglob("*.json"): orjson.loads(path.read_bytes())
for path in root.rglob("*.jsonl"):
    for line in path.read_bytes().splitlines(): orjson.loads(line[9:])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=10_000)
    wanted = parser.parse_args().attempts
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name) / "workspace")
        workspace.create()
        attempts = fabricate(workspace, wanted)
        page = Path(name) / "report.html"
        command = [DETOUR, "report", "-w", str(workspace.root), "--out", str(page)]
        bare_s, _ = seconds([sys.executable, "-c", READ, str(workspace.root)])
        print(f"{attempts:,} attempts; reading the files bare: {bare_s:.2f} s of CPU")
        for _ in range(3):
            cpu_s, wall_s = seconds(command)
            size_mb = page.stat().st_size / 1e6
            print(f"detour report: {cpu_s:.2f} s of CPU, {wall_s:.2f} s by the clock, {size_mb:.2f} MB")


def fabricate(workspace: Workspace, wanted: int) -> int:
    """Returns the number of attempts created."""
    seeds = range(42, 42 + max(1, wanted * 10 // 11 // CHAINS - 3))
    past, written, attempts = Past(workspace), set[str](), 0
    for number in range(CHAINS):
        stages = make_stages(
            {
                "data.sequence_length": 100,
                "batch.sequences": 40,
                "optimizer.lr": 1e-4 * (1 + number // 10),
                "phases.1.tokens": 60_000 + 4000 * (number % 10),
                "benchmark.seeds": list(seeds),
            }
        )
        write_plan(workspace, Plan(f"chain-{number:03d}", stages), Target(CLUSTER, SITE, sweep="many"))
        for stage in stages:
            if stage.id not in written:
                written.add(stage.id)
                attempts += _run(workspace, past, stage, EVENING_S + 60.0 * len(written), len(written))
    past.write()
    return attempts


def _run(workspace: Workspace, past: Past, stage: Stage, start_s: float, number: int) -> int:
    trains, last = isinstance(stage, PretrainStage), 1 + (number % 10 == 0)
    held: dict[str, Any] = {"gpus": 4 if trains else 1, "cpus": 96 if trains else 24, "cluster": CLUSTER}
    held["node"] = f"node{number % 50}"
    for attempt in range(1, last + 1):
        outcome = "done" if attempt == last else "failed"
        past.attempt(stage.id, start_s + 40 * attempt, 30.0, number=attempt, start_up_s=5.0, outcome=outcome, **held)
    for step in range(STEPS if trains else 0):
        figures = {"loss": 8.0 - step / 50 + 0.1 * (step % 7), "lr": 1e-3, "tokens_per_s": 1e5}
        progress = {"done": 1500 * step, "total": 300_000, "unit": "tokens", "figures": figures}
        past.add("progress", start_s + 46 + step / 10, progress, stage.id, last)
    folder = workspace.output(stage.id)
    folder.mkdir(parents=True)
    files = {"index.json": {"size_bytes": 1, "sha256": "0" * 64}}
    manifest: dict[str, Any] = {"schema": 1, "sha256": "0" * 64, "files": files, "provenance": PROVENANCE}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if isinstance(stage, EvaluateStage):
        score = 0.7 + 0.001 * (stage.seed % 7) + 0.0001 * (number % 100)
        (folder / "result.json").write_text(json.dumps({"primary_metric": "macro_f1", "test": {"macro_f1": score}}))
    return last


def seconds(command: list[str]) -> tuple[float, float]:
    """CPU and wall time, with compiled modules, as for an installed command: the first run may compile them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, time.monotonic() - started_s


if __name__ == "__main__":
    main()
