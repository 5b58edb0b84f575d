"""The quickstart's three seeds as one job and as three, on a CPU, one thread each: CPU seconds and wall time.

    python -m tests.benchmarks.evaluation_seeds [WORKSPACE]

One job runs them at once or in turn; three jobs run in turn, or at once as under `detour run`. WORKSPACE contains the
quickstart up to its export (`detour run quickstart --until export -w WORKSPACE`); without one it is made, which takes
minutes. It is copied, not changed. All results must be equal.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from detour.jobs.concurrent_seeds import THREADS, VARIABLE, shares
from detour.ledger.workspace import Workspace
from detour.orchestration.plans import load_plans
from detour.planning.stage import EvaluateStage
from tests.support.chains import RECIPES, detour


@dataclass(frozen=True, slots=True)
class Way:
    jobs: int
    jobs_at_once: int
    seeds_at_once: int | None
    """Seeds at once in a job; None for its own choice."""


CORES = len(os.sched_getaffinity(0))
THREE_IN_A_ROW = "three jobs, one after the other"
WAYS = {
    "one job": Way(1, 1, None),
    "one job, one seed after the other": Way(1, 1, 1),
    THREE_IN_A_ROW: Way(3, 1, None),
    f"three jobs, {CORES} at once": Way(3, CORES, None),
}


class Took(NamedTuple):
    cpu_s: float
    wall_s: float


def seconds(commands: Sequence[Sequence[str]], way: Way) -> Took:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {THREADS: "1"} | ({} if way.seeds_at_once is None else {VARIABLE: str(way.seeds_at_once)})

    def run(command: Sequence[str]) -> None:
        subprocess.run(command, check=True, capture_output=True, env=environment)

    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with ThreadPoolExecutor(way.jobs_at_once) as executor:
        list(executor.map(run, commands))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(cpu_s, time.monotonic() - started_s)


def results(workspace: Workspace, stages: Sequence[str]) -> list[dict[str, Any]]:
    read = [json.loads((workspace.output(stage) / "result.json").read_bytes()) for stage in stages]
    return [{key: value for key, value in result.items() if key != "elapsed_s"} for result in read]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "made"
        if len(sys.argv) == 1:
            detour("run", RECIPES / "quickstart.yaml", "--until", "export", "-w", source)
        planned = load_plans(RECIPES / "quickstart.yaml")
        stages = [stage.id for stage in planned.shared.stages.values() if isinstance(stage, EvaluateStage)]
        detour("run", RECIPES / "quickstart.yaml", "--until", "export", "-w", source)
        took, found = {}, []
        for number, (name, way) in enumerate(WAYS.items()):
            copy = Workspace(Path(shutil.copytree(source, Path(folder) / str(number), symlinks=True)))
            for stage in stages:
                shutil.rmtree(copy.output(stage), ignore_errors=True)  # of a quickstart that went on
            job = [sys.executable, "-uP", "-m", "detour.jobs", "--workspace", str(copy.root)]
            took[name] = seconds([[*job, *share] for share in shares(stages, way.jobs)], way)
            found.append(results(copy, stages))
            print(f"{name}: {took[name].cpu_s:.1f} CPU s, {took[name].wall_s:.1f} s", flush=True)
        assert all(each == found[0] for each in found), "all ways give the same, but for the time"
        for name in WAYS:
            for other in WAYS:
                if WAYS[name].jobs < WAYS[other].jobs:
                    cpu, wall = (mine / theirs for theirs, mine in zip(took[name], took[other], strict=True))
                    print(f"{name}, to {other}: {wall:.2f} times as fast by the clock, {cpu:.2f} by CPU time")


if __name__ == "__main__":
    main()
