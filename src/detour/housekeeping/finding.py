"""What could be removed from a workspace without being missed, according to markers, plans, pins and the ledger.

What is planned, running, pending in the queue or pinned is kept, with everything it is made of. Jobs that the ledger
does not know to have ended count as pending. Nothing here changes anything: see `removing`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import get_args

from detour.errors import UserError
from detour.housekeeping.measuring import Extent, measure
from detour.housekeeping.pins import pinned
from detour.ledger.claims import holder
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from detour.planning.files import chain_names, read_plan_outline, read_stage_outline
from detour.planning.order import upstream
from detour.planning.stage import StageKind

TRASH = ".trash"
KEPT_CODE = 1
"""Number of newest code snapshots that are kept."""


class Kind(StrEnum):
    STAGE = "stage in no plan"
    WORK = "resume and logger files of a finished stage"
    OUTPUT = "unfinished or damaged output"
    CHECKPOINT = "damaged or unfinished checkpoint"
    CODE = "code that no job needs"
    COMPILED = "compiled kernels, rebuilt when needed"
    LEFTOVER = "left by a killed process"


@dataclass(frozen=True, slots=True)
class Removable:
    kind: Kind
    path: Path
    extent: Extent
    stage: str | None = None
    """The stage whose claim must be held during the removal."""


class UnreadablePlan(UserError):
    """A plan that cannot be read: what it needs is unknown, so nothing is removed."""


class Survey:
    """One look at a workspace, on which every decision is based."""

    def __init__(self, workspace: Workspace, state: State) -> None:
        self.workspace, self.state = workspace, state

    @cached_property
    def kept(self) -> set[str]:
        """Ids of stages that must be kept whole. Raises UnreadablePlan."""
        busy = {stage for stage in self.present if self.is_busy(stage)}
        wanted = self._planned_inputs.keys() | pinned(self.workspace) | busy
        return upstream(wanted | self._linked.keys() | set(self._scores), self._inputs)

    @cached_property
    def _planned_inputs(self) -> dict[str, tuple[str, ...]]:
        """Inputs of all stages of all chains, done or not."""
        try:
            plans = [read_plan_outline(self.workspace, chain) for chain in chain_names(self.workspace)]
        except (UserError, OSError) as error:
            raise UnreadablePlan(f"{error}; until then nothing is removed") from error
        return {stage.id: tuple(stage.inputs.values()) for plan in plans for stage in plan.stages}

    @cached_property
    def present(self) -> list[str]:
        """Ids of the stages that have a folder. A folder with another name is a person's own, such as a copy."""
        folder = self.workspace.root / "stages"
        paths = folder.iterdir() if folder.is_dir() else ()
        return sorted(path.name for path in paths if _is_stage(path.name) and _is_folder(path))

    def is_busy(self, stage: str) -> bool:
        """Whether a job that may use it is running or pending; unknown counts as busy."""
        if holder(self.workspace, stage) is not None:
            return True
        known = self.state.stage(stage)
        if not known.jobs or self.workspace.is_done(stage):
            return False
        return known.is_open or (known.failure is not None and not self.workspace.has_failed(stage))

    @cached_property
    def anything_queued(self) -> bool:
        return any(map(self.is_busy, self.present))

    @cached_property
    def _linked(self) -> dict[str, bool]:
        """Stages of exported models that are the target of links in `models/`, and whether a link is an alias."""
        folder, found = self.workspace.root / "models", dict[str, bool]()
        links = folder.iterdir() if folder.is_dir() else ()  # a glob would treat an unreadable folder as empty
        for link in links:
            for part in link.readlink().parts if link.is_symlink() else ():
                if part in self.present:
                    found[part] = found.get(part, False) or "@" in link.name
        return found

    @property
    def _scores(self) -> Iterator[str]:
        """Evaluations of models with an alias, which no plan may have any more."""
        for stage in self.present:
            if stage.startswith("evaluate-") and self.workspace.is_done(stage):
                with suppress(UserError):
                    inputs = read_stage_outline(self.workspace, stage).inputs.values()
                    if any(self._linked.get(export) for export in inputs):
                        yield stage

    def _inputs(self, stage: str) -> Collection[str]:
        """The inputs by a plan, or else by the stage's own file. Raises UnreadablePlan if neither can be read."""
        if stage in self._planned_inputs:
            return self._planned_inputs[stage]
        try:
            return tuple(read_stage_outline(self.workspace, stage).inputs.values())
        except UserError as error:
            raise UnreadablePlan(f"{error}. It is pinned or in use, so until then nothing is removed") from error


def find(survey: Survey) -> Iterator[Removable]:
    """Everything that could be removed. Raises UnreadablePlan."""
    for stage in survey.present:
        for kind, path in _of_stage(survey, stage):
            yield Removable(kind, path, measure(path), stage)
    for kind, path in (*_code(survey), *_compiled(survey), *_leftovers(survey.workspace)):
        yield Removable(kind, path, measure(path))


def _of_stage(survey: Survey, stage: str) -> Iterator[tuple[Kind, Path]]:
    folder = survey.workspace.stage(stage)
    if stage not in survey.kept:
        yield Kind.STAGE, folder
        return
    if survey.is_busy(stage):
        return
    yield from ((Kind.OUTPUT, path) for path in sorted(folder.glob("output.*")))
    work = folder / "work"
    if survey.workspace.is_done(stage):
        if _is_folder(work) and any(work.iterdir()):
            yield Kind.WORK, work
        return
    for pattern in ("damaged-step-*", ".writing-*", ".removing-*"):
        yield from ((Kind.CHECKPOINT, path) for path in sorted(work.glob(f"**/{pattern}")))


def _code(survey: Survey) -> Iterator[tuple[Kind, Path]]:
    """Old snapshots. Pending jobs run a snapshot, and no record says which, so all are kept while a job is pending."""
    if survey.anything_queued:
        return
    snapshots = [path for path in (survey.workspace.root / "code").glob("*") if _is_folder(path)]
    newest = sorted(snapshots, key=lambda path: path.lstat().st_mtime)[-KEPT_CODE:]
    yield from ((Kind.CODE, path) for path in sorted(snapshots) if path not in newest)


def _compiled(survey: Survey) -> Iterator[tuple[Kind, Path]]:
    """What torch compiled for each user, which saves the next attempt seconds or minutes."""
    if not survey.anything_queued:
        folders = sorted((survey.workspace.root / "compiled").glob("*"))
        yield from ((Kind.COMPILED, path) for path in folders if _is_folder(path))


def _leftovers(workspace: Workspace) -> Iterator[tuple[Kind, Path]]:
    yield from ((Kind.LEFTOVER, path) for path in sorted((workspace.root / TRASH).glob("*")))


def _is_stage(name: str) -> bool:
    kind, _, key = name.partition("-")
    return kind in get_args(StageKind) and key.isalnum()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
