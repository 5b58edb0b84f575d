"""Cached values of outputs equal those in the files, whatever happens to the files and to the cache."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from detour.ledger.private import FileStamp, keep_private, read_private
from detour.ledger.workspace import Workspace
from detour.reporting import output_cache
from detour.reporting.output_cache import Manifest, OutputCache
from detour.reporting.outputs import read_stamped

STAGES = ("evaluate-1", "evaluate-2", "evaluate-3")
PROVENANCE = {"python": "3.11", "packages": {"torch": "2.13.0", "six": "1.0"}, "host": "n1", "code": None}


@pytest.fixture(autouse=True)
def node(node_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder; anything is worth caching there."""
    monkeypatch.setattr(output_cache, "WORTH_KEEPING", 1)
    return node_folder


@pytest.fixture
def cached(workspace: Workspace) -> Workspace:
    """A workspace with two outputs in the cache; the third stage has none yet."""
    for stage, sha256, score in (("evaluate-1", "a" * 64, 0.5), ("evaluate-2", "b" * 64, 0.7)):
        write(workspace, stage, {"sha256": sha256, "provenance": PROVENANCE}, score)
    found(workspace)
    return workspace


def write(workspace: Workspace, stage: str, manifest: Mapping[str, Any], score: float) -> None:
    workspace.output(stage).mkdir(parents=True, exist_ok=True)
    workspace.manifest(stage).write_text(json.dumps(manifest))
    result(workspace, stage).write_text(json.dumps({"primary_metric": "f1", "test": {"f1": score}, "more": [1]}))


def result(workspace: Workspace, stage: str) -> Path:
    return workspace.output(stage) / "result.json"


def found(workspace: Workspace) -> list[tuple[Manifest | None, Mapping[str, Any]]]:
    outputs = OutputCache(workspace)
    read = [(outputs.manifest(stage), outputs.result(stage)) for stage in STAGES]
    outputs.keep()
    return read


def uncached(workspace: Workspace, node: Path) -> list[tuple[Manifest | None, Mapping[str, Any]]]:
    for path in node.glob("detour-cache-*/*"):
        path.unlink()
    return found(workspace)


def cache_file(node: Path) -> Path:
    (path,) = node.glob("detour-cache-*/*.outputs.json")
    return path


def replace_result(workspace: Workspace) -> None:
    """Replace it by a file of the same size and time."""
    path = result(workspace, "evaluate-1")
    before, other = path.stat(), path.with_name("other")
    other.write_text(path.read_text().replace("0.5", "0.9"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


CHANGES: dict[str, Callable[[Workspace], object]] = {
    "another result": lambda workspace: write(workspace, "evaluate-1", {"sha256": "c"}, 0.6),
    "a replaced result": replace_result,
    "a new output": lambda workspace: write(workspace, "evaluate-3", {"provenance": []}, 0.8),
    "an output less": lambda workspace: workspace.manifest("evaluate-2").unlink(),
    "a result less": lambda workspace: result(workspace, "evaluate-2").unlink(),
    "a damaged manifest": lambda workspace: workspace.manifest("evaluate-2").write_text("{"),
    "a longer manifest": lambda workspace: workspace.manifest("evaluate-2").write_text(
        json.dumps({"sha256": "d" * 90})
    ),
}


def test_the_cache_holds_what_a_report_takes_from_the_files(cached: Workspace) -> None:
    outputs = OutputCache(cached)
    provenance = {"code": None, "python": "3.11", "packages": {"torch": "2.13.0"}, "machine": None}
    assert outputs.manifest("evaluate-1") == Manifest("a" * 64, provenance)
    assert outputs.result("evaluate-1") == {"primary_metric": "f1", "test": {"f1": 0.5}}
    assert (outputs.manifest("evaluate-3"), outputs.result("evaluate-3")) == (None, {})


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_cache_agrees_with_the_files(cached: Workspace, node: Path, change: str) -> None:
    before = found(cached)
    CHANGES[change](cached)
    after = found(cached)
    assert after != before
    assert after == uncached(cached, node)


def test_unchanged_files_are_not_read(cached: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = found(cached), list[str]()

    def note(path: str) -> tuple[FileStamp | None, dict[str, Any]]:
        stamp, content = read_stamped(path)
        read.extend([path] if stamp else [])
        return stamp, content

    monkeypatch.setattr(output_cache, "read_stamped", note)
    assert found(cached) == before
    assert read == []
    write(cached, "evaluate-3", {"sha256": "e"}, 0.1)
    found(cached)
    assert read == [str(cached.manifest("evaluate-3")), str(result(cached, "evaluate-3"))]


def test_outputs_of_one_run_share_their_provenance(cached: Workspace) -> None:
    first, second, _ = (manifest for manifest, _ in found(cached))
    assert first is not None
    assert second is not None
    assert first.provenance is second.provenance


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}", b'{"format": 1, "workspace": "/elsewhere"}'])
def test_a_damaged_or_foreign_cache_is_ignored(cached: Workspace, node: Path, content: bytes) -> None:
    before = found(cached)
    cache_file(node).write_bytes(content)
    assert found(cached) == before


@pytest.mark.parametrize("part", ["provenances", "manifests", "results"])
def test_a_malformed_cache_is_ignored(cached: Workspace, node: Path, part: str) -> None:
    before = found(cached)
    data = json.loads(read_private(str(cache_file(node))))
    malformed = {**data, part: {"evaluate-1": 1} if part != "provenances" else []}
    keep_private(str(cache_file(node)), json.dumps(malformed).encode())
    assert found(cached) == before


def test_a_cache_that_others_can_write_is_not_read(cached: Workspace, node: Path) -> None:
    before = found(cached)
    cache_file(node).write_bytes(cache_file(node).read_bytes().replace(b"0.5", b"0.9"))
    cache_file(node).parent.chmod(0o770)
    assert found(cached) == before
