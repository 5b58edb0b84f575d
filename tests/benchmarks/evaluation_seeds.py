"""The quickstart's three seeds as one job and as three, one after the other: CPU seconds and wall time. The job runs
them in one process, and then in two at once.

    python -m tests.benchmarks.evaluation_seeds [WORKSPACE]

WORKSPACE holds the quickstart up to its export (`detour run quickstart --until export -w WORKSPACE`); without one it is
made, which takes minutes. It is copied, not changed. The results of all ways must be equal.
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
from pathlib import Path
from typing import Any

from detour.jobs.at_once import VARIABLE
from detour.ledger.workspace import Workspace
from detour.orchestration.plans import load_plans
from detour.planning.stage import EvaluateStage
from tests.support.chains import RECIPES, detour


def seconds(commands: Sequence[Sequence[str]], at_once: int) -> tuple[float, float]:
    """CPU and wall time of commands, one after the other."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", VARIABLE: str(at_once)}
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, time.monotonic() - started_s


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
        alone = [[stage] for stage in stages]
        ways = {"one process": ([stages], 1), "two at once": ([stages], 2), "three processes": (alone, 1)}
        took, found = {}, []
        for way, (groups, at_once) in ways.items():
            copy = Workspace(Path(shutil.copytree(source, Path(folder) / way.replace(" ", "-"), symlinks=True)))
            job = [sys.executable, "-uP", "-m", "detour.jobs", "--workspace", str(copy.root)]
            took[way] = seconds([[*job, *group] for group in groups], at_once)
            found.append(results(copy, stages))
            print(f"{way}: {took[way][0]:.1f} CPU s, {took[way][1]:.1f} s", flush=True)
        assert all(each == found[0] for each in found), "all ways give the same, but for the time"
        three = took["three processes"]
        for way in ("one process", "two at once"):
            cpu_s, wall_s = took[way]
            print(f"{way}: {three[0] / cpu_s:.2f} times as fast by CPU time, {three[1] / wall_s:.2f} by the clock")


if __name__ == "__main__":
    main()
