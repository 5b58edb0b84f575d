"""What `detour gc` does: remove what nothing needs, while no submission to the workspace is under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from detour.disk import OUT_OF_ROOM
from detour.errors import UserError
from detour.housekeeping.finding import Kind, Removable, Survey, find
from detour.housekeeping.removing import remove
from detour.ledger.claims import claim
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.slurm import submitting
from detour.orchestration.waves import any_to_come


class Skipped(NamedTuple):
    path: Path
    reason: str


class Cleaned(NamedTuple):
    removed: tuple[Removable, ...]
    skipped: tuple[Skipped, ...]


def removable(workspace: Workspace) -> list[Removable]:
    """What nothing needs. Raises UserError if a plan or a journal, which may name what is in use, cannot be read."""
    view = LedgerView(workspace)
    if view.damage.unreadable:
        raise UserError(f"{view.damage.unreadable[0]}; its jobs may be in use, so nothing is removed until it is read")
    found = find(Survey(workspace, view.state))
    return [one for one in found if one.kind is not Kind.CODE or not any_to_come(workspace)]


def clean(workspace: Workspace, agreed: Collection[Path], on_wait: Callable[[str], None]) -> Cleaned:
    """Remove what is in `agreed` and can still go; what is another user's or in use by now is skipped and reported.

    Raises ClaimHeld if a submission does not end within two minutes, UserError if the disk takes no more files.
    """
    removed, skipped = list[Removable](), list[Skipped]()
    with _naming_what_to_remove_first(agreed), submitting(workspace, on_wait, without_room=True):
        for found in removable(workspace):
            if found.path not in agreed:
                continue
            try:
                with _claimed(workspace, found):
                    remove(workspace, found)
                removed.append(found)
            except OSError as error:
                skipped.append(Skipped(found.path, found.extent.blocked or error.strerror or str(error)))
            except UserError as error:
                skipped.append(Skipped(found.path, str(error)))
    return Cleaned(tuple(removed), tuple(skipped))


@contextmanager
def _naming_what_to_remove_first(agreed: Collection[Path]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in OUT_OF_ROOM:
            raise
        raise UserError(
            f"{error.filename}: the disk takes no more files, so submissions cannot be kept out meanwhile:"
            f" remove one of these by hand, such as {min(agreed)}, and run it again"
        ) from error


@contextmanager
def _claimed(workspace: Workspace, found: Removable) -> Iterator[None]:
    """Keep attempts at the stage from starting. Raises ClaimHeld, PermissionError or UserError."""
    if found.extent.blocked:
        raise PermissionError(f"{found.path}: {found.extent.blocked}")
    with claim(workspace, found.stage, "detour gc", without_room=True) if found.stage else nullcontext():
        if found.kind is Kind.WORK and found.stage and not workspace.is_done(found.stage):
            raise UserError("its output has disappeared meanwhile: the next attempt resumes from this")
        yield
