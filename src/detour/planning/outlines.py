"""Outlines of all plans, reread only when their files change, and cached between commands on this node.

A plan holds every setting of every stage, an outline one line per stage. Without the cache, `status` of a large
workspace would spend much of its time reading unchanged plans.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from detour.errors import UserError
from detour.ledger.cache import made_of, private_path
from detour.ledger.private import FileStamp, keep_private, read_private, stamp_of
from detour.ledger.workspace import Workspace
from detour.planning.files import ChainOutline, StageOutline, Target, chain_names, plan_file, read_plan_outline
from detour.planning.selection import Known

WORTH_KEEPING = 4
"""Number of plans that had to be read from which the cache is updated."""


class Outlines:
    """The outlines of one workspace; `known` stats every plan's file and reads those that are new or changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._read: Mapping[str, tuple[FileStamp | None, ChainOutline]] = _restored(workspace)
        self._known: Known | None = None

    def known(self) -> Known:
        """Return the outlines: the same object as before if nothing has changed."""
        present: dict[str, tuple[FileStamp | None, ChainOutline]] = {}
        unreadable, n_read = [], 0
        for name in chain_names(self._workspace):
            try:
                stamp = stamp_of(os.stat(plan_file(self._workspace, name)))  # noqa: PTH116
                before = self._read.get(name)
                if before is not None and stamp is not None and before[0] == stamp:
                    present[name] = before
                    continue
                n_read += 1
                present[name] = (stamp, read_plan_outline(self._workspace, name))
            except UserError as error:
                unreadable.append(str(error))
            except OSError as error:
                unreadable.append(f"{error.filename}: cannot be read ({error.strerror}); ask its owner")
        is_same = n_read == 0 and present.keys() == self._read.keys() and not unreadable
        if self._known is None or not is_same:
            self._known = Known({name: outline for name, (_, outline) in present.items()}, tuple(unreadable))
        self._read = present
        if n_read >= WORTH_KEEPING:
            _keep(self._workspace, present)
        return self._known

    def stamp(self, chain: str) -> FileStamp | None:
        """Return the stamp of a known plan's file; as long as it is equal and not None, the file has not changed."""
        return self._read[chain][0]


def _keep(workspace: Workspace, outlines: Mapping[str, tuple[FileStamp | None, ChainOutline]]) -> None:
    plans = {
        name: (stamp, outline.target.to_json(), [tuple(stage) for stage in outline.stages])
        for name, (stamp, outline) in outlines.items()
        if stamp is not None
    }
    with suppress(OSError, TypeError):
        content = orjson.dumps({"made_of": made_of(workspace), "plans": plans})
        keep_private(private_path(workspace, "plans"), content)


def _restored(workspace: Workspace) -> dict[str, tuple[FileStamp, ChainOutline]]:
    """Read the cached outlines; empty unless the cache is valid."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = orjson.loads(read_private(private_path(workspace, "plans")))
        if data["made_of"] == made_of(workspace):
            return {name: _outline(name, *kept) for name, kept in data["plans"].items()}
    return {}


def _outline(
    name: str, stamp: Sequence[int], target: dict[str, Any], stages: Sequence[Sequence[Any]]
) -> tuple[FileStamp, ChainOutline]:
    inode, size, modified_ns, changed_ns = stamp
    outlines = tuple(StageOutline(*stage) for stage in stages)
    return (inode, size, modified_ns, changed_ns), ChainOutline(name, outlines, Target.from_json(target))
