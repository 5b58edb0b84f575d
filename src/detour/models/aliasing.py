"""Move aliases atomically: a link is renamed into place, so readers see either the old or the new version."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detour.checkpoints.manifest import verify_manifest
from detour.errors import UserError
from detour.files import fsync_directory, point_link
from detour.ledger.claims import claim
from detour.ledger.events import ModelAliased
from detour.ledger.folders import make_folder
from detour.ledger.journal import command_journal
from detour.ledger.process import user_name
from detour.ledger.reading import history
from detour.ledger.record import in_time
from detour.ledger.workspace import Workspace
from detour.models.versions import KIND, SHORT, alias_link, export_behind, find_version

ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,31}")
CLAIM = "models"


class Move(NamedTuple):
    model: str
    alias: str
    before: str | None
    """Export that the alias pointed to; None if it is new."""
    after: str
    why: str | None
    user: str
    at_s: float
    rolled_back: bool


def promote_version(workspace: Workspace, wanted: str, alias: str, why: str | None = None) -> Move:
    """Point an alias to a version, after verifying all its digests.

    Raises UserError if the version is missing or damaged, or the alias is not a valid name.
    """
    if not ALIAS.fullmatch(alias):
        raise UserError(
            f"{alias!r} is not an alias: write lower-case letters, digits, `.`, `_`, `-`, such as `production`"
        )
    version = find_version(workspace, wanted)
    if problems := verify_manifest(workspace.output(version.export)):
        again = workspace.command("retry", version.model)
        raise UserError(f"{version.name} is not promoted: {problems[0]}; make it again with `{again}`")
    with claim(workspace, CLAIM, f"detour models promote {wanted}"):
        return _move(workspace, version.model, alias, version.export, why)


def roll_back(workspace: Workspace, model: str, alias: str, why: str | None = None) -> Move:
    """Point an alias to its previous version. Raises UserError if there is none, or it is damaged."""
    _pointed_to(workspace, model, alias)  # a mistyped name writes nothing, not even the claim's folder
    with claim(workspace, CLAIM, f"detour models rollback {model}"):
        now = _pointed_to(workspace, model, alias)
        before = version_before(moves(workspace, model, alias), now)
        if before is None:
            raise UserError(f"{model}@{alias} pointed to no version before {now.removeprefix(KIND)[:SHORT]}")
        if problems := verify_manifest(workspace.output(before)):
            raise UserError(f"{model}@{alias} is not rolled back: {problems[0]}")
        return _move(workspace, model, alias, before, why, rolled_back=True)


def version_before(recorded: Sequence[Move], now: str) -> str | None:
    """The export that an alias pointed to before its last promotion that was not rolled back, None if there is none.

    Records that changed nothing do not count: the version was there already, or a kill prevented the move, which shows
    in what the alias points to next (`now` in the end).
    """
    promotions: list[Move] = []
    for move, found in zip(recorded, [*(move.before for move in recorded[1:]), now], strict=True):
        if move.after != found or move.after == move.before:
            continue
        if move.rolled_back:
            del promotions[-1:]
        else:
            promotions.append(move)
    return promotions[-1].before if promotions else None


def _pointed_to(workspace: Workspace, model: str, alias: str) -> str:
    if (export := export_behind(workspace, alias_link(workspace, model, alias))) is None:
        raise UserError(f"{model} has no alias {alias!r}; `detour models` lists them")
    return export


def moves(workspace: Workspace, model: str, alias: str | None = None) -> list[Move]:
    """Return the moves of a model's aliases from the ledger, oldest first."""
    entries = sorted(history(workspace, (ModelAliased,)), key=in_time)
    return [
        Move(
            event.model, event.alias, event.before, event.after, event.why, event.user, entry.wall_s, event.rolled_back
        )
        for entry in entries
        if (event := entry.event).model == model and alias in (None, event.alias)
    ]


def _move(
    workspace: Workspace, model: str, alias: str, export: str, why: str | None, *, rolled_back: bool = False
) -> Move:
    """Record the move, then make it: an unrecorded move could not be undone, a record alone changes nothing."""
    link = alias_link(workspace, model, alias)
    make_folder(workspace.root, link.parent)
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link}: something else is in the place of this alias; move it away")
    before, user = export_behind(workspace, link), user_name()
    with command_journal(workspace) as journal:
        event = ModelAliased(
            model=model, alias=alias, before=before, after=export, why=why, user=user, rolled_back=rolled_back
        )
        journal.append(event)
    point_link(link, Path("..") / workspace.output(export).relative_to(workspace.root))
    fsync_directory(link.parent)
    return Move(model, alias, before, export, why, user, time.time(), rolled_back)
