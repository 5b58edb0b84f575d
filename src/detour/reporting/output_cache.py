"""A cache on this node of what reports need from two small files of every output.

Opening and parsing them again, 20,000 for 10,000 stages, takes a tenth of the time of a report. An entry is valid
while its file has the same stamp (see `detour.ledger.private`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import orjson

from detour.ledger.cache import made_of, private_path
from detour.ledger.private import FileStamp, keep_private, read_private, stamp_of
from detour.ledger.workspace import MANIFEST, Workspace
from detour.reporting.outputs import PACKAGES, PROVENANCE, read_stamped

WORTH_KEEPING = 500
"""Number of files read from which storing the cache noticeably speeds up the next command."""
RESULT = "result.json"
SCORES = ("primary_metric", "test", "notes")
Part = TypeVar("Part")


class Manifest(NamedTuple):
    sha256: str | None
    """Hash over all files of the output."""
    provenance: Mapping[str, Any]
    """Only the parts that give versions; outputs with equal provenance share one object."""


class OutputCache:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._manifests: dict[str, tuple[FileStamp, Manifest | None]] = {}
        self._results: dict[str, tuple[FileStamp, Mapping[str, Any]]] = {}
        self._provenances: dict[bytes, Mapping[str, Any]] = {}
        self._used: set[str] = set()
        """Stages asked about; what is cached of others may belong to outputs that no longer exist."""
        self._n_read = 0
        with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            self._restore(orjson.loads(read_private(private_path(workspace, "outputs"))))

    def manifest(self, stage_id: str) -> Manifest | None:
        """Return an output's manifest; None if there is no output yet or its manifest cannot be read."""
        return self._part(self._manifests, stage_id, MANIFEST, self._manifest)

    def result(self, stage_id: str) -> Mapping[str, Any]:
        """Return the parts in SCORES of an evaluation's result; empty if there is none yet."""
        return self._part(self._results, stage_id, RESULT, _scores)

    def keep(self) -> None:
        if self._n_read < WORTH_KEEPING:
            return
        places = {id(provenance): place for place, provenance in enumerate(self._provenances.values())}
        with suppress(OSError, TypeError):
            content = {
                "made_of": made_of(self.workspace),
                "provenances": list(self._provenances.values()),
                "manifests": {
                    stage_id: [stamp, found and [found.sha256, places[id(found.provenance)]]]
                    for stage_id, (stamp, found) in self._manifests.items()
                    if stage_id in self._used
                },
                "results": {stage_id: kept for stage_id, kept in self._results.items() if stage_id in self._used},
            }
            keep_private(private_path(self.workspace, "outputs"), orjson.dumps(content))

    def _part(
        self,
        known: dict[str, tuple[FileStamp, Part]],
        stage_id: str,
        name: str,
        part_of: Callable[[Mapping[str, Any]], Part],
    ) -> Part:
        """What `known` has of a file while its stamp is the same, otherwise read again."""
        self._used.add(stage_id)
        path = self.workspace.output_file(stage_id, name)
        found = known.get(stage_id)
        if found is not None and found[0] == _stamp_of(path):
            return found[1]
        stamp, content = read_stamped(path)
        part = part_of(content)
        if stamp is None:
            known.pop(stage_id, None)
        else:
            known[stage_id] = stamp, part
            self._n_read += 1
        return part

    def _manifest(self, content: Mapping[str, Any]) -> Manifest | None:
        if not content:
            return None
        given = content.get("provenance")
        parts = {part: given.get(part) for part in PROVENANCE} if isinstance(given, dict) else {}
        if isinstance(packages := parts.get("packages"), dict):
            parts["packages"] = {name: packages[name] for name in PACKAGES if name in packages}
        sha256 = content.get("sha256")
        return Manifest(sha256 if isinstance(sha256, str) and sha256 else None, self._shared(parts))

    def _shared(self, provenance: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._provenances.setdefault(orjson.dumps(provenance), provenance)

    def _restore(self, data: Any) -> None:
        if data["made_of"] != made_of(self.workspace):
            return
        shared = [self._shared(provenance) for provenance in data["provenances"]]
        manifests = {
            stage_id: (_stamp(stamp), found and Manifest(found[0], shared[found[1]]))
            for stage_id, (stamp, found) in data["manifests"].items()
        }
        results: dict[str, tuple[FileStamp, Mapping[str, Any]]] = {
            stage_id: (_stamp(stamp), dict(found)) for stage_id, (stamp, found) in data["results"].items()
        }
        self._manifests, self._results = manifests, results


def _scores(content: Mapping[str, Any]) -> Mapping[str, Any]:
    return {part: content[part] for part in SCORES if part in content}


def _stamp_of(path: str) -> FileStamp | None:
    try:
        return stamp_of(os.stat(path))  # noqa: PTH116
    except OSError:
        return None


def _stamp(kept: list[int]) -> FileStamp:
    inode, size, modified_ns, changed_ns = kept
    return inode, size, modified_ns, changed_ns
