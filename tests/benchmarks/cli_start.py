"""How long the command takes to answer, compared with a bare interpreter in the same run.

    python -m tests.benchmarks.cli_start [RUNS]

Prints the median of each command and its ratio to `python -c pass`; next to them, those of `squeue` and `sacct` on a
real Slurm with 100 jobs, if the tests' one is installed. `status` reads a workspace made here through the real ledger:
3 chains of 79 stages, half of them with an attempt of 200 records.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import detour
from detour.ledger.attempt import Attempt
from detour.ledger.events import AttemptEnded, AttemptStarted, ProgressMade
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from tests.benchmarks.slurm_clients import CLIENTS, queue_of

DETOUR = str(Path(sys.executable).parent / "detour")
CHAINS, STAGES, RECORDS, JOBS = 3, 79, 200, 100


def make_workspace(root: Path) -> Workspace:
    workspace = Workspace(root)
    workspace.create()
    for chain in range(CHAINS):
        stages = evaluations(f"chain-{chain}", first_seed=1000 * chain)
        workspace.chain(f"chain-{chain}").mkdir(parents=True)
        plan = {"chain": f"chain-{chain}", "stages": [stage.to_json() for stage in stages]}
        (workspace.chain(f"chain-{chain}") / "plan.json").write_text(json.dumps(plan))
        for stage in stages[::2]:
            with Journal.open(workspace, stage.id) as journal:
                attempt = Attempt(journal, stage=stage.id, number=1)
                attempt.event(AttemptStarted(gpus=0, cpus=2))
                for done in range(RECORDS):
                    journal.append(
                        ProgressMade(done=done, total=RECORDS, unit="steps", figures={}), stage=stage.id, attempt=1
                    )
                attempt.event(AttemptEnded(outcome="done", exit_code=0))
    return workspace


def evaluations(chain: str, first_seed: int) -> list[Stage]:
    """The quickstart's evaluations, for many seeds."""
    seeds = [first_seed + number for number in range(STAGES)]
    (plan,) = detour.plan("quickstart", f"name={chain}", f"benchmark.seeds={seeds}").plans
    return [stage for stage in plan.stages if stage.kind == "evaluate"]


def median_ms(commands: dict[str, list[str]], runs: int, slurm: Mapping[str, str]) -> dict[str, float]:
    """Measured in turn, so that a slow moment of the machine affects all alike; with cached bytecode, as is usual."""
    environment = {name: value for name, value in (slurm or os.environ).items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
            taken[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder, queue_of(JOBS) as slurm:
        workspace = make_workspace(Path(folder, "workspace"))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "detour --help": [DETOUR, "--help"],
            "detour status": [DETOUR, "status", "-w", str(workspace.root)],
        }
        medians = median_ms(commands | (CLIENTS if slurm else {}), runs, slurm)
    for name, took in medians.items():
        print(f"{name:<16} {took:6.0f} ms  x{took / medians['python -c pass']:.1f}")


if __name__ == "__main__":
    main()
