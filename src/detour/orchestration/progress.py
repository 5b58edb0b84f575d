"""How far the stages of a plan are: done, in flight, failed or new, by markers, claims and the ledger.

The scheduler is not asked: a stage that was submitted and has left no marker since counts as in flight, unless it
depends on one that failed: Slurm has removed its job.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from detour.ledger.claims import holder
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.order import downstream
from detour.planning.stage import Stage
from detour.scheduler.in_flight import stages_sent

Progress = Literal["done", "in flight", "failed", "new"]
PROGRESS: tuple[Progress, ...] = ("done", "in flight", "failed", "new")


def progress_of(view: LedgerView, stages: Iterable[Stage]) -> dict[str, Progress]:
    """Progress by stage id. Only stages with a folder are read, so a plan of many new ones costs one listing."""
    stages = list(stages)
    present = _stage_folders(view.workspace)
    sent = stages_sent(view) if present else set()
    failed = {stage.id for stage in stages if stage.id in present and view.workspace.has_failed(stage.id)}
    sent -= {stage.id for stage in downstream(stages, failed)}
    return {
        stage.id: _progress(view.workspace, stage.id, stage.id in sent) if stage.id in present else "new"
        for stage in stages
    }


def count(stages: Iterable[Stage], progress: Mapping[str, Progress]) -> Counter[Progress]:
    return Counter(progress[stage.id] for stage in stages)


def _progress(workspace: Workspace, stage_id: str, is_sent: bool) -> Progress:
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
