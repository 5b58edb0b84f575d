"""Rates of the ledger compared with a bare loop over the same records: `python -m tests.benchmarks.ledger`.

Best of three, in the same run, on the file system of the temporary folder. The bare loop is what the standard library's
json does with a file and a dict: no checksum, no sequence, no state.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from detour.ledger.attempt import Attempt
from detour.ledger.events import AttemptEnded, AttemptStarted, CheckpointSaved, ProgressMade
from detour.ledger.journal import Journal
from detour.ledger.reading import LedgerReader, journal_paths
from detour.ledger.state import State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace

STAGES, ATTEMPTS = 20, 5
FIGURES: dict[str, float | None] = {"loss": 2.34567, "lr": 8e-4, "tokens_per_s": 123456.7, "gradient_norm": 0.53}


def best(action: Callable[[Path], None]) -> float:
    """Seconds of the fastest of three runs, each in an empty folder."""
    times = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            start_s = time.perf_counter()
            action(Path(folder))
            times.append(time.perf_counter() - start_s)
    return min(times)


def write_ledger(workspace: Workspace, events: int, attempts: int = STAGES * ATTEMPTS) -> None:
    """`events` progress records over this many attempts, one journal each."""
    share = events // attempts
    for index in range(attempts):
        with Journal.open(workspace, f"writer-{index}") as journal:
            attempt = Attempt(journal, stage=f"pretrain-{index % STAGES:016x}", job=str(index), number=index + 1)
            attempt.event(AttemptStarted())
            for done in range(share):
                journal.append(
                    ProgressMade(done=done, total=share, unit="tokens", figures=FIGURES),
                    stage=attempt.stage,
                    job=attempt.job,
                    attempt=attempt.number,
                )
            attempt.event(AttemptEnded(outcome="done", exit_code=0))


def append_bare(folder: Path, events: int) -> None:
    """One write per event, as in the journal."""
    with (folder / "bare.jsonl").open("w", buffering=1) as file:
        for done in range(events):
            event = {"wall_s": time.time(), "kind": "progress", "stage": "pretrain-0", "job": "1000", "attempt": 1}
            data = {"done": done, "total": events, "unit": "tokens", "figures": FIGURES}
            file.write(json.dumps({**event, "data": data}) + "\n")


def append_durable(folder: Path, events: int) -> None:
    workspace = Workspace(folder)
    with Journal.open(workspace, "durable") as journal:
        for step in range(events):
            journal.append(CheckpointSaved(step=step, tokens=step))


def fold_bare(workspace: Workspace) -> None:
    latest = {}
    for path in journal_paths(workspace):
        with Path(path).open() as file:
            for line in file:
                record = json.loads(line[9:])
                latest[record["stage"], record["attempt"], record["kind"]] = record


def folded(reader: LedgerReader) -> State:
    state = State()
    for batch in reader.read_new():
        state.add(batch)
    return state


def fold(workspace: Workspace) -> None:
    state = folded(LedgerReader(workspace))
    assert state.missing == 0
    assert len(state.stages) == STAGES


def fold_cached(workspace: Workspace) -> None:
    assert len(LedgerView(workspace).state.stages) == STAGES


def refresh_s(workspace: Workspace, events: int) -> float:
    view = LedgerView(workspace)
    with Journal.open(workspace, "more") as journal:
        for done in range(events):
            journal.append(
                ProgressMade(done=done, total=events, unit="tokens", figures={}), stage="pretrain-0", attempt=9
            )
        start_s = time.perf_counter()
        view.refresh()
        return time.perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    events = parser.parse_args().events
    rows = [
        ("append, unsynced", best(lambda folder: write_ledger(Workspace(folder), events, 1)), events),
        ("append, bare json", best(lambda folder: append_bare(folder, events)), events),
        ("append, each synced", best(lambda folder: append_durable(folder, 2_000)), 2_000),
    ]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder  # where the cache goes
        workspace = Workspace(Path(folder) / "workspace")
        write_ledger(workspace, events)
        rows += [
            ("read and fold", best(lambda _: fold(workspace)), events),
            ("read and fold, bare json", best(lambda _: fold_bare(workspace)), events),
            ("state out of the cache", best(lambda _: fold_cached(workspace)), events),
            ("refresh of 1,000 new", refresh_s(workspace, 1_000), 1_000),
        ]
    for name, elapsed_s, count in rows:
        print(f"{name:26} {count:>9,} events  {elapsed_s:8.3f} s  {count / elapsed_s:>10,.0f} events/s")


if __name__ == "__main__":
    main()
