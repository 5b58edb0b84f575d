"""A cached history equals that of the journals, whatever happens to them and to the cache."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detour.ledger import cache
from detour.ledger import view as view_module
from detour.ledger.compaction import compact
from detour.ledger.events import AttemptStarted, CheckpointSaved, ProgressMade
from detour.ledger.journal import Journal
from detour.ledger.reading import LedgerReader, Selection, history
from detour.ledger.record import Entry
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from tests.ledger.lines import journal_files

KINDS = (ProgressMade, CheckpointSaved)
STAGES = ("pretrain-1", "pretrain-2")


@pytest.fixture(autouse=True)
def node(node_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder; any history is worth caching there."""
    monkeypatch.setattr(cache, "HISTORY_WORTH_KEEPING", 1)
    return node_folder


@pytest.fixture
def cached(workspace: Workspace) -> Workspace:
    """A workspace with a cached history."""
    write(workspace, "one")
    write(workspace, "two")
    assert len(cache.history(workspace, KINDS, STAGES)) == 8
    return workspace


def write(workspace: Workspace, writer: str) -> None:
    with Journal.open(workspace, writer) as journal:
        journal.append(AttemptStarted(node="n"), stage="pretrain-1", job="7", attempt=1)
        for stage in ("pretrain-1", "pretrain-2", "evaluate-1"):
            for step in range(2):
                figures = {"loss": 0.1 * step, "lr": None}
                progress = ProgressMade(done=step, total=9, unit="tokens", figures=figures)
                journal.append(progress, stage=stage, job="7", attempt=1)


def rewrite(workspace: Workspace) -> None:
    """Replace the first journal by other content of the same length."""
    first, second = journal_files(workspace)
    first.write_bytes(second.read_bytes())


def tear(workspace: Workspace) -> None:
    first = journal_files(workspace)[0]
    os.truncate(first, first.stat().st_size - 5)


CHANGES: dict[str, Callable[[Workspace], object]] = {
    "nothing": journal_files,
    "a new journal": lambda workspace: write(workspace, "three"),
    "a journal less": lambda workspace: journal_files(workspace)[0].unlink(),
    "a shorter journal": lambda workspace: os.truncate(journal_files(workspace)[0], 900),
    "a torn journal": tear,
    "another journal of its name": rewrite,
    "journals in a segment": lambda workspace: compact(workspace, now_s=time.time() + 32 * 86400),
}


def read_history(workspace: Workspace) -> list[Entry[Any]]:
    return cache.history(workspace, KINDS, STAGES)


def note_files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files read from now on, once per reading."""
    read = list[str]()
    real = LedgerReader._read_file

    def note(reader: LedgerReader, path: str) -> object:
        read.append(path)
        return real(reader, path)

    monkeypatch.setattr(LedgerReader, "_read_file", note)
    return read


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_history_equals_that_of_the_journals(cached: Workspace, change: str) -> None:
    CHANGES[change](cached)
    for _ in range(2):
        assert read_history(cached) == history(cached, KINDS, STAGES)


def test_only_new_journals_are_read(cached: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cached, "three")
    read = note_files_read(monkeypatch)
    assert len(read_history(cached)) == 12
    assert len(read) == 1
    assert len(read_history(cached)) == 12
    assert len(read) == 1


def test_a_view_selects_the_history_while_it_reads_each_journal_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, "one")
    write(workspace, "two")
    read = note_files_read(monkeypatch)
    view = LedgerView(workspace, Selection(KINDS, STAGES))
    selected = view.selected()
    assert sorted(read) == [str(path) for path in journal_files(workspace)]
    assert selected == history(workspace, KINDS, STAGES)


def test_a_view_restored_from_its_cache_selects_the_same_history(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "WORTH_KEEPING", 1)
    write(workspace, "one")
    selection = Selection(KINDS, STAGES)
    cold = LedgerView(workspace, selection).selected()
    read = note_files_read(monkeypatch)
    assert LedgerView(workspace, selection).selected() == cold
    assert read == []


def test_records_that_a_view_reads_later_are_selected_too(workspace: Workspace) -> None:
    write(workspace, "one")
    view = LedgerView(workspace, Selection(KINDS, STAGES))
    write(workspace, "two")
    view.refresh()
    assert view.selected() == history(workspace, KINDS, STAGES)


def test_another_question_is_answered_from_the_journals(cached: Workspace) -> None:
    assert cache.history(cached, KINDS, STAGES[:1]) == history(cached, KINDS, STAGES[:1])
    assert cache.history(cached, KINDS[1:], STAGES) == []
    assert len(read_history(cached)) == 8


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}\n[]"])
def test_a_damaged_cache_is_ignored(cached: Workspace, node: Path, content: bytes) -> None:
    (path,) = node.glob("detour-cache-*/*.history.json")
    path.write_bytes(content)
    assert len(read_history(cached)) == 8


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_cache_is_ignored(cached: Workspace, node: Path, share: float) -> None:
    (path,) = node.glob("detour-cache-*/*.history.json")
    os.truncate(path, int(path.stat().st_size * share))
    assert len(read_history(cached)) == 8


def test_a_cache_of_another_user_is_ignored(cached: Workspace, node: Path) -> None:
    (path,) = node.glob("detour-cache-*/*.history.json")
    path.write_bytes(path.read_bytes().replace(b'"tokens"', b'"lies"'))
    path.parent.chmod(0o770)
    assert read_history(cached) == history(cached, KINDS, STAGES)


def test_a_history_that_is_too_large_is_not_cached(
    workspace: Workspace, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MOST_HISTORY", 3)
    write(workspace, "one")
    assert len(read_history(workspace)) == 4
    assert not list(node.glob("detour-cache-*/*.history.json"))
