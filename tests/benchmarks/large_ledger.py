"""CPU time of each command on a ledger of a million events: `python -m tests.benchmarks.large_ledger [--events N]`.

Writes one (ended attempts of a sweep's stages, with reservations and jobs), then prints the CPU seconds of each verb in
its own process: cold, without the node's cache of the ledger, and warm, the better of two runs with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from detour.ledger.identity import workspace_id
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from detour.scheduler.tags import Tag
from tests.support.stages import prepare_stage

REPOSITORY = Path(__file__).parents[2]
DETOUR = str(Path(sys.executable).parent / "detour")
STAGES, CLUSTER, START_S = 400, "slurm-local", 1_760_000_000.0
FIGURES = {"loss": 2.34567, "lr": 8e-4, "tokens_per_s": 123456.7, "gradient_norm": 0.53}
BUDGET = """name: bench
scope: {account: abc@h100}
period: {start: 2025-01-01, end: 2030-12-31}
gpu_hours: {soft: 9000000, hard: 10000000}
"""


class Lines:
    """One journal, written like any other."""

    def __init__(self, workspace: Workspace, writer: str) -> None:
        folder = workspace.ledger / "2025-10"
        folder.mkdir(exist_ok=True)
        self._file = (folder / f"{writer}.jsonl").open("wb")
        self._writer, self._sequence, self.job = writer, 0, "7"

    def add(self, kind: str, at_s: float, data: dict[str, Any], stage: str | None = None) -> None:
        record = {
            "schema": 1,
            "wall_s": at_s,
            "mono_s": at_s,
            "writer": self._writer,
            "sequence": self._sequence,
            "kind": kind,
            "chain": None,
            "stage": stage,
            "job": self.job if stage else None,
            "attempt": 1 if stage and kind != "submit.stage" else None,
            "data": data,
        }
        self._sequence += 1
        payload = orjson.dumps(record)
        self._file.write(b"%08x %b\n" % (crc32(payload), payload))

    def close(self) -> None:
        self._file.close()


def write_stage(workspace: Workspace, stage: Stage, number: int, events: int) -> None:
    """What its submission and its one attempt of `events` events leave."""
    start_s, command = START_S + 5000.0 * number, Lines(workspace, f"command-{number}")
    tag = str(Tag(workspace_id(workspace.root), stage.id, 1, "s1"))
    facts = {"account": "abc@h100", "cluster": CLUSTER, "user": "ada"}
    shares = [{"ids": [stage.id], "amounts": {"gpu_hours": 30.0}}]
    command.add(
        "budget.reserved", start_s, {"submission": tag, "facts": facts, "stages": shares, "over": [], "why": None}
    )
    command.add("submit.intent", start_s, {"tasks": [[stage.id]], "dependency": "", "tags": [tag]})
    command.add("submit.accepted", start_s, {"job_id": str(1000 + number), "tags": [tag]})
    command.add("submit.committed", start_s, {"tags": [tag]})
    command.add("budget.committed", start_s, {"submission": tag})
    command.close()
    job = Lines(workspace, f"{stage.id}.0001")
    held = {"node": "n1", "gpus": 4, "cpus": 96, "ram_gb": 512.0, "nodes": 1, "cluster": CLUSTER}
    job.add("attempt.started", start_s + 1, held, stage.id)
    for done in range(events):
        data = {"done": done, "total": events, "unit": "tokens", "figures": FIGURES}
        job.add("progress", start_s + 2 + done, data, stage.id)
    job.add("stage.done", start_s + events + 3, {"result": {}}, stage.id)
    job.add("attempt.ended", start_s + events + 3, {"outcome": "done", "exit_code": 0, "reason": None}, stage.id)
    job.close()
    workspace.output(stage.id).mkdir(parents=True)
    workspace.manifest(stage.id).write_text("{}")
    (workspace.stage(stage.id) / "stage.json").write_bytes(orjson.dumps(stage.to_json()))


def make_workspace(root: Path, events: int) -> Workspace:
    workspace = Workspace(root)
    workspace.create()
    stages = [prepare_stage(seed) for seed in range(STAGES)]
    for number, stage in enumerate(stages):
        write_stage(workspace, stage, number, events // STAGES)
    chain = workspace.chain("bench")
    chain.mkdir()
    (chain / "plan.json").write_text(json.dumps({"chain": "bench", "stages": [stage.to_json() for stage in stages]}))
    return workspace


def cpu_s(command: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder, "workspace"), events)
        budget = Path(folder, "bench.yaml")
        budget.write_text(BUDGET)
        recipe = str(REPOSITORY / "configs/recipes/quickstart.yaml")
        where = ["-w", str(workspace.root)]
        commands = {
            "status": ["status", *where],
            "plan": ["plan", recipe, *where, "--cluster", CLUSTER],
            "submit --dry-run": ["submit", recipe, *where, "--cluster", CLUSTER, "--dry-run"],
            "budget": ["budget", str(budget), *where],
            "why": ["why", "bench", *where],
        }
        print(f"{events:,} events, CPU seconds")
        print(f"{'':<18}{'cold':>8}{'warm':>8}")
        for name, command in commands.items():
            cache = Path(folder, f"cache {name}")
            cache.mkdir()
            environment = {**os.environ, "TMPDIR": str(cache)}
            cold, *warm = (cpu_s([DETOUR, *command], environment) for _ in range(3))
            print(f"{name:<18}{cold:8.2f}{min(warm):8.2f}", flush=True)


if __name__ == "__main__":
    main()
