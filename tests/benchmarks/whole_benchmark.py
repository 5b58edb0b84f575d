"""The eight French tasks and three English ones as one array on a real Slurm whose jobs are killed at random.

    python -m tests.benchmarks.whole_benchmark [SEEDS [KILLS [PARALLEL]]]

The files are synthetic, in the published layouts; it runs until every score is there. The chain is the small
quickstart's. A kill is a SIGKILL of a fine-tuning's process or a requeue of its job by Slurm; what failed is submitted
again. At the end each (task, seed) must have been computed to its end exactly once, and no result may have changed
since it was written; exit code 1 otherwise. Nine seeds take some minutes of two cores.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from detour.ledger.events import AttemptEnded, AttemptStarted, ProgressMade
from detour.ledger.reading import history
from detour.ledger.workspace import Workspace
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import ClusterSettings
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster
from tests.support.chains import RECIPES, SMALL, detour
from tests.support.layouts import ENGLISH, write_all
from tests.support.recipes import load_benchmark

BENCHMARKS = RECIPES.parent / "benchmarks"
SEEDS_PER_JOB = 3
TINY = {"max_length": 64, "batch_sequences": 8, "lr": 1e-3, "epochs": None, "steps": 6, "validate_every": 3}


def write_benchmark(folder: Path, seeds: int) -> Path:
    """Every task as shipped, except for its length and its steps."""
    with mock.patch.dict(os.environ, DETOUR_TASKS=str(folder / "tasks")):
        french, english = (load_benchmark(BENCHMARKS / f"{name}-biomedical.yaml") for name in ("french", "english"))
    write_all(folder / "tasks")
    tasks = [*french.tasks, *(task for task in english.tasks if task.name in ENGLISH)]
    content = {
        "name": "whole",
        "seeds": list(french.seeds[:seeds]),
        "tasks": [task.model_dump(mode="json", exclude_unset=True) | TINY for task in tasks],
    }
    path = folder / "whole.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_profile(folder: Path) -> Path:
    row = {"max_length": 64, "batch_sequences": 8, "seeds": SEEDS_PER_JOB, "memory_gb": 1, "source": "chosen"}
    path = folder / "several-seeds.yaml"
    path.write_text(
        json.dumps(
            {
                "extends": str(RECIPES.parent / "clusters" / "slurm-local.yaml"),
                "name": "several-seeds",
                "seeds_per_job": [row],
            }
        )
    )
    return path


@dataclass
class Evaluations:
    """The evaluations of a workspace, and what happened to them."""

    workspace: Workspace
    killed: Counter[str] = field(default_factory=Counter)
    written: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Stage -> when its result was first seen, and the result."""

    @property
    def stages(self) -> list[str]:
        return sorted(path.name for path in self.workspace.root.glob("stages/evaluate-*"))

    def results(self) -> Iterator[tuple[str, tuple[int, bytes]]]:
        for stage in self.stages:
            path = self.workspace.output(stage) / "result.json"
            with suppress(FileNotFoundError):
                yield stage, (path.stat().st_mtime_ns, path.read_bytes())

    def remember(self) -> None:
        for stage, result in self.results():
            self.written.setdefault(stage, result)

    def running(self) -> list[tuple[int, str]]:
        """Process and job of what is running."""
        found = []
        for stage in self.stages:
            attempts = sorted((self.workspace.stage(stage) / "attempts").glob("*.json"))
            if not attempts or self.workspace.is_done(stage):
                continue
            claimed = json.loads(attempts[-1].read_text() or "{}")
            if (pid := claimed.get("pid")) and Path(f"/proc/{pid}").exists():
                found.append((pid, claimed["job"]))
        return found

    def kill(self, cluster: SlurmCluster, draw: random.Random) -> bool:
        """Kill one of those running, if there are any."""
        if not (running := self.running()):
            return False
        pid, job = draw.choice(running)
        if draw.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed["processes"] += 1
        elif cluster.run("scontrol", "requeue", job, check=False).returncode == 0:
            self.killed["jobs requeued"] += 1
        return True

    def mistakes(self, expected: int) -> list[str]:
        """What was lost, or done twice."""
        now, ended, began = dict(self.results()), Counter[str](), defaultdict[str, set[int]](set)
        for entry in history(self.workspace, (AttemptStarted, AttemptEnded, ProgressMade)):
            if entry.stage is None or not entry.stage.startswith("evaluate-"):
                continue
            if isinstance(entry.event, ProgressMade) and ended[entry.stage]:
                began[entry.stage].add(entry.attempt or 0)
            ended[entry.stage] += isinstance(entry.event, AttemptEnded) and entry.event.outcome == "done"
        found = [f"{len(now)} results, and {expected} were asked for"] if len(now) != expected else []
        found += [f"{stage}: its result changed" for stage, first in self.written.items() if now.get(stage) != first]
        found += [f"{stage}: computed {ended[stage]} times" for stage in self.stages if ended[stage] != 1]
        return found + [f"{stage}: attempts {began[stage]} computed what was done" for stage in began]


def play(folder: Path, seeds: int, kills: int, parallel: int) -> tuple[Evaluations, list[str]]:
    evaluations, draw = Evaluations(Workspace(folder / "workspace")), random.Random(7)
    recipe: list[str | Path] = [RECIPES / "quickstart.yaml", *(one for one in SMALL if not one.startswith("benchmark"))]
    recipe += [f"benchmark={write_benchmark(folder, seeds)}"]
    where: list[str | Path] = ["-w", evaluations.workspace.root, "--cluster", write_profile(folder), "--gpus", "1"]
    with own_cluster(ClusterSettings("24.11")) as cluster:
        environment = {**os.environ, **cluster.environment, "OMP_NUM_THREADS": "1"}

        def submit() -> dict[str, str]:
            order = ["submit", *recipe, *where, "--parallel", str(parallel), "--retry", "--json"]
            said = json.loads(detour(*order, environment=environment).stdout)
            return {slot: job for slot, job in said.get("jobs", {}).items() if slot.startswith("evaluate")}

        arrays = submit()
        print(f"{len(evaluations.stages)} evaluations in {len(set(arrays.values()))} array", flush=True)
        due_s = time.monotonic()
        while True:
            evaluations.remember()
            if evaluations.killed.total() < kills and time.monotonic() >= due_s and evaluations.kill(cluster, draw):
                due_s = time.monotonic() + draw.uniform(2, 15)
            if not cluster.run("squeue", "-h").stdout:
                if len(evaluations.written) == len(evaluations.stages):
                    break
                submit()
            time.sleep(0.2)
        nothing = submit()
    return evaluations, evaluations.mistakes(11 * seeds) + [f"sent again: {slot}" for slot in nothing]


def main() -> int:
    seeds, kills, parallel = map(int, (*sys.argv[1:], *("9", "12", "2")[len(sys.argv) - 1 :]))
    open_run()
    try:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            evaluations, mistakes = play(Path(folder), seeds, kills, parallel)
    finally:
        close_run()
    print(f"killed: {dict(evaluations.killed)}; {len(evaluations.written)} results; {len(mistakes)} mistakes")
    print(*mistakes, sep="\n", end="" if not mistakes else "\n")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
