"""`detour status` of a large workspace: `python -m tests.benchmarks.status [--jobs N] [--events N] [--open N]`.

Writes a ledger of 10,000 jobs of 200 chains with a million events, a tenth of the jobs open, and a `squeue` and a
`sacct` that count their calls. Prints the CPU seconds of `status`: cold, warm with one reading of Slurm, warm within
the poll interval, and of a refresh after 1,000 new events; next to them, those of `squeue` and `sacct` on a real Slurm
with as many jobs, if the tests' one is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import orjson

from detour.ledger.identity import workspace_id
from detour.ledger.private import keep_private, read_private
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.scheduler.commands import QUEUE_FIELDS, SEPARATOR
from detour.scheduler.tags import Tag
from tests.benchmarks.large_ledger import DETOUR, FIGURES, START_S, Lines, cpu_s
from tests.benchmarks.slurm_clients import CLIENTS, queue_of
from tests.support.stages import prepare_stage

CHAINS = 200
CLIENT = """#!/bin/sh
echo {name} >>{folder}/calls
cat {folder}/{name}.txt
"""


def make_workspace(root: Path, jobs: int, events: int, still_open: int) -> list[str]:
    """Returns the ids of stages whose jobs are open."""
    workspace = Workspace(root)
    workspace.create()
    plain = prepare_stage().to_json()
    stages = [{**plain, "key": f"{number:016x}"} for number in range(jobs)]
    ids = [f"prepare-{stage['key']}" for stage in stages]
    each = jobs // CHAINS
    for chain in range(CHAINS):
        folder = workspace.chain(f"chain-{chain:03d}")
        folder.mkdir()
        plan = {"chain": folder.name, "stages": stages[chain * each : (chain + 1) * each], "sweep": f"s{chain % 4}"}
        (folder / "plan.json").write_bytes(orjson.dumps(plan))
    for number, stage in enumerate(ids):
        _write_journal(workspace, stage, number, events // jobs, is_open=number % jobs >= jobs - still_open)
    return ids[jobs - still_open :]


def _write_journal(workspace: Workspace, stage: str, number: int, events: int, *, is_open: bool) -> None:
    start_s, lines = START_S + number, Lines(workspace, f"{stage}.0001")
    lines.job = str(1000 + number)
    lines.add("submit.stage", start_s, {}, stage)
    if not is_open:
        held = {"node": "n1", "gpus": 4, "cpus": 96, "ram_gb": 512.0, "nodes": 1, "cluster": "here"}
        lines.add("attempt.started", start_s + 1, held, stage)
        for done in range(events - 5):
            data = {"done": done, "total": events, "unit": "tokens", "figures": FIGURES}
            lines.add("progress", start_s + 2 + done, data, stage)
        lines.add("stage.done", start_s + events, {"result": {}}, stage)
        lines.add("attempt.ended", start_s + events, {"outcome": "done", "exit_code": 0, "reason": None}, stage)
        workspace.output(stage).mkdir(parents=True)
        workspace.manifest(stage).write_text("{}")
    lines.add("journal.closed", start_s + events, {})
    lines.close()


def write_clients(folder: Path, workspace: Workspace, open_ids: list[str], first: int) -> None:
    header = SEPARATOR.join(QUEUE_FIELDS)
    rows = [header]
    for offset, stage in enumerate(open_ids):
        tag = str(Tag(workspace_id(workspace.root), stage, 1, "s1"))
        known = {
            "job": str(1000 + first + offset),
            "state": "PENDING",
            "reason": "Priority",
            "priority": "5",
            "name": tag,
        }
        rows.append(SEPARATOR.join(known.get(name, "") for name in QUEUE_FIELDS))
    (folder / "squeue.txt").write_text("\n".join(rows) + "\n")
    (folder / "sacct.txt").write_text("\n")
    for name in ("squeue", "sacct"):
        (folder / name).write_text(CLIENT.format(name=name, folder=folder))
        (folder / name).chmod(0o755)


def refresh_ms(workspace: Workspace, stage: str, events: int) -> float:
    """CPU milliseconds of another look after this many new events of one stage."""
    monitor, took = Monitor(workspace), []
    monitor.look()
    for turn in range(5):
        lines = Lines(workspace, f"refresh-{turn}")
        for done in range(events):
            data = {"done": done, "total": events, "unit": "tokens", "figures": FIGURES}
            lines.add("progress", START_S + 1e6 + done, data, stage)
        lines.close()
        before = time.process_time()
        monitor.look()
        took.append((time.process_time() - before) * 1000)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--open", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = Workspace(folder / "workspace")
        open_ids = make_workspace(workspace.root, options.jobs, options.events, options.open)
        write_clients(folder, workspace, open_ids, options.jobs - options.open)
        environment = {**os.environ, "TMPDIR": name, "PATH": f"{name}:{os.environ['PATH']}"}
        command = [DETOUR, "status", "-w", str(workspace.root)]

        def timed(what: str) -> None:
            (folder / "calls").write_text("")
            took = cpu_s(command, environment)
            calls = (folder / "calls").read_text().split()
            print(
                f"{what:<40} {took:6.2f} CPU s, {calls.count('squeue')} squeue, {calls.count('sacct')} sacct",
                flush=True,
            )

        print(f"{options.jobs:,} jobs, {options.events:,} events, {options.open:,} jobs open")
        timed("status, cold")
        for _ in range(2):
            (reading,) = folder.glob("detour-cache-*/*.jobs.json")
            kept = json.loads(read_private(str(reading)))
            keep_private(str(reading), orjson.dumps({**kept, "taken_s": 1.0}))
            timed("status, warm, the interval is over")
        timed("status, warm, within the interval")
        print(f"{'refresh after 1,000 new events':<40} {refresh_ms(workspace, open_ids[0], 1000):6.0f} CPU ms")
    with queue_of(options.open) as slurm:
        for client, question in CLIENTS.items() if slurm else ():
            took = cpu_s(question, dict(slurm)) * 1000
            print(f"{f'{client} of {options.open:,} jobs':<40} {took:6.0f} CPU ms")


if __name__ == "__main__":
    main()
