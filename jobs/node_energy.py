"""Energy of a job's nodes other than the first, journalled by the first rank of each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detour.accounting.sampler import EnergySampler
from detour.errors import UserError
from detour.jobs.progress import attempts_in
from detour.jobs.rank import Rank
from detour.ledger.events import EnergyRead
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace


def this_start(executor: str | None) -> dict[str, str | None]:
    """What distinguishes this start of the job from those before a requeue; the same on all its nodes."""
    return {"job": executor, "restart": os.environ.get("SLURM_RESTART_COUNT", "0")}


@contextmanager
def node_energy(
    workspace: Workspace, stage_id: str, rank: Rank, executor: str | None
) -> Iterator[EnergySampler | None]:
    """A running sampler on local rank 0 of nodes other than the first; otherwise None.

    The main rank numbers the attempt, perhaps after this begins. Nothing is recorded until the number is known, and
    nothing is lost, since each reading sums all before it.
    """
    if rank.local_rank != 0 or rank.node_rank == 0:
        yield None
        return
    try:
        journal = Journal.open(workspace, f"{stage_id}.node{rank.node_rank}")
    except UserError:  # the main rank reports this too, and the work does not depend on it
        yield None
        return
    number: int | None = None

    def record(event: EnergyRead) -> None:
        nonlocal number
        if number is None:
            number = _number_of(workspace.stage(stage_id) / "attempts", this_start(executor))
        if number is not None:
            journal.append(event, stage=stage_id, job=executor, attempt=number)

    with journal, EnergySampler(record) as sampler:
        yield sampler


def _number_of(folder: Path, start: dict[str, str | None]) -> int | None:
    """The latest attempt of this start; None if there is none."""
    for path in sorted(attempts_in(folder), key=lambda path: int(path.stem), reverse=True):
        try:
            written: Any = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(written, dict) and start.items() <= written.items():
            return int(path.stem)
    return None
