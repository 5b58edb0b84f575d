"""Where the stages of a plan stand: done, in flight, failed, or still to be had. By markers, claims and the ledger.

The scheduler is not asked: what was handed to it and has left no marker since counts as in flight.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from detour.ledger.claims import holder
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from detour.scheduler import sent as events
from detour.scheduler.sent import fold
from detour.scheduler.tags import workspace_id

Standing = Literal["done", "in flight", "failed", "new"]
SUBMIT_EVENTS = (events.INTENT, events.ACCEPTED, events.RELINKED, events.COMMITTED, events.DROPPED)
STANDINGS: tuple[Standing, ...] = ("done", "in flight", "failed", "new")


def standings(view: LedgerView, stages: Iterable[Stage]) -> dict[str, Standing]:
    """By stage id. Looks only at stages that have a folder, so a plan of many new ones costs one listing."""
    present = _stage_folders(view.workspace)
    sent = stages_sent(view) if present else set()
    return {
        stage.id: _standing(view.workspace, stage.id, stage.id in sent) if stage.id in present else "new"
        for stage in stages
    }


def count(stages: Iterable[Stage], known: Mapping[str, Standing]) -> Counter[Standing]:
    return Counter(known[stage.id] for stage in stages)


def stages_sent(view: LedgerView) -> set[str]:
    """Stages whose jobs were given to Slurm for good, whatever became of them since."""
    told = [(record["kind"], record["data"]) for record in view.records(SUBMIT_EVENTS)]
    jobs = fold(told, workspace_id(view.workspace.root)).values()
    return {stage for one in jobs if one.committed and not one.dropped for task in one.tasks for stage in task}


def _standing(workspace: Workspace, stage_id: str, is_sent: bool) -> Standing:
    if workspace.is_done(stage_id):
        return "done"
    if workspace.has_failed(stage_id):
        return "failed"
    if is_sent or holder(workspace, stage_id) is not None:
        return "in flight"
    return "new"


def _stage_folders(workspace: Workspace) -> set[str]:
    try:
        return set(os.listdir(workspace.root / "stages"))  # noqa: PTH208  names, fast
    except FileNotFoundError:
        return set()
