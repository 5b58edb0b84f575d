"""The quickstart's three seeds in one process, beside three processes one after the other: CPU seconds and wall time.

    python -m tests.benchmarks.evaluation_seeds [WORKSPACE]

WORKSPACE holds the quickstart up to its export (`detour run quickstart --until export -w WORKSPACE`); without one it is
made, which takes minutes. It is copied, not changed. The results of both ways must be equal.
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

from detour.ledger.workspace import Workspace
from detour.orchestration.plans import load_plans
from detour.planning.stage import EvaluateStage
from tests.support.chains import RECIPES, detour


def seconds(commands: Sequence[Sequence[str]]) -> tuple[float, float]:
    """CPU and wall time of commands, one after the other."""
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
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
        ways: dict[str, list[list[str]]] = {"one process": [stages], "three processes": [[stage] for stage in stages]}
        took, found = {}, []
        for way, groups in ways.items():
            copy = Workspace(Path(shutil.copytree(source, Path(folder) / way.replace(" ", "-"), symlinks=True)))
            job = [sys.executable, "-uP", "-m", "detour.jobs", "--workspace", str(copy.root)]
            took[way] = seconds([[*job, *group] for group in groups])
            found.append(results(copy, stages))
            print(f"{way}: {took[way][0]:.1f} CPU s, {took[way][1]:.1f} s")
        assert found[0] == found[1], "both ways give the same, but for the time"
        one, three = took["one process"], took["three processes"]
        print(f"one process is {three[0] / one[0]:.2f} times as fast by CPU time, {three[1] / one[1]:.2f} by the clock")


if __name__ == "__main__":
    main()
