import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from detour.ledger import cache
from detour.ledger import view as views
from detour.ledger.cache import _state, _state_lines
from detour.ledger.compaction import compact
from detour.ledger.events import (
    AttemptEnded,
    AttemptStarted,
    BudgetCommitted,
    ChainSubmitted,
    EnergyCounted,
    Event,
    ProgressMade,
    StageFailed,
)
from detour.ledger.journal import Journal
from detour.ledger.private import keep_private, read_private
from detour.ledger.reading import LedgerReader
from detour.ledger.record import Entry, encode
from detour.ledger.state import State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from tests.ledger.lines import load_state
from tests.ledger.records import journals, make_record


@pytest.fixture(autouse=True)
def node(node_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder, and a threshold that any record exceeds."""
    monkeypatch.setattr(views, "WORTH_KEEPING", 1)
    return node_folder


def write(workspace: Workspace, name: str, number: int = 1) -> None:
    with Journal.open(workspace, name) as journal:
        beside: dict[str, Any] = {"stage": "pretrain-1", "job": "7", "attempt": number}
        journal.append(AttemptStarted(node="n"), **beside)
        journal.append(ProgressMade(done=3, total=9, unit="tokens", figures={"loss": None}), **beside)
        journal.append(EnergyCounted(energy_kwh=0.5), **beside)
        journal.append(AttemptEnded(outcome="failed"), **beside)
        journal.append(StageFailed(reason="NaN"), **beside)
        journal.append(ChainSubmitted(cluster="local"), chain="base")
        journal.append(BudgetCommitted(submission=name))


def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files whose content is read from now on."""
    noted: list[str] = []
    real = LedgerReader._read_file

    def note(reader: LedgerReader, path: str) -> list[Entry[Event]]:
        entries = real(reader, path)
        noted.extend([path] if entries else [])
        return entries

    monkeypatch.setattr(LedgerReader, "_read_file", note)
    return noted


def cache_file(node: Path) -> Path:
    (path,) = node.glob("detour-cache-*/*.state.json")
    return path


@given(journals())
def test_any_state_survives_the_cache(written: list[list[Entry[Any]]]) -> None:
    state = State()
    state.add(entry for entries in written for entry in entries[::2])
    assert _state(_state_lines(state)) == state


def test_a_state_in_several_lines_is_only_restored_if_all_are_there(
    workspace: Workspace, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BLOCK_STAGES", 2)
    with Journal.open(workspace, "one") as journal:
        for number in range(5):
            journal.append(AttemptStarted(node="n"), stage=f"pretrain-{number}", job="7", attempt=1)
    state = LedgerView(workspace).state
    kept = cache.restore(workspace)
    assert kept is not None
    assert kept.state == state
    lines = read_private(str(cache_file(node))).splitlines(keepends=True)
    assert len(lines) == 5
    for left_out in range(1, 5):
        keep_private(str(cache_file(node)), b"".join(lines[:left_out] + lines[left_out + 1 :]))
        assert cache.restore(workspace) is None


def test_only_new_records_are_read(workspace: Workspace, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, "one")
    fresh = LedgerView(workspace).state
    assert stat.S_IMODE(cache_file(node).parent.stat().st_mode) == 0o700
    read = files_read(monkeypatch)
    assert LedgerView(workspace).state == fresh == load_state(workspace)[0]
    assert len(read) == 1
    write(workspace, "two", 2)
    read.clear()
    state = LedgerView(workspace).state
    assert len(read) == 1
    assert state == load_state(workspace)[0]
    assert state.stages["pretrain-1"].status == "failed"


def test_torn_lines_and_damage_are_remembered(workspace: Workspace) -> None:
    write(workspace, "one")
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    content = journal.read_bytes()
    journal.write_bytes(b"rubbish\n" + content[:-5])
    for _ in range(2):
        view = LedgerView(workspace)
        assert (view.damage.bad_lines, view.damage.torn_tails) == (1, 1)
        assert not next(iter(view.state.writers.values())).closed
    journal.write_bytes(b"rubbish\n" + content)
    view = LedgerView(workspace)
    assert (view.damage.bad_lines, view.damage.torn_tails) == (1, 0)
    assert next(iter(view.state.writers.values())).closed


def test_removed_and_compacted_journals_invalidate_the_cache(workspace: Workspace) -> None:
    write(workspace, "one")
    LedgerView(workspace)
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    journal.unlink()
    assert LedgerView(workspace).state == State()
    write(workspace, "two")
    LedgerView(workspace)
    write(workspace, "three")
    compact(workspace, now_s=time.time() + 32 * 86400)
    assert LedgerView(workspace).state == load_state(workspace)[0]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 1}', b"\xff", b'{"version":1,"workspace":1}'])
def test_a_damaged_cache_is_ignored(workspace: Workspace, node: Path, content: bytes) -> None:
    write(workspace, "one")
    LedgerView(workspace)
    cache_file(node).write_bytes(content)
    assert LedgerView(workspace).state == load_state(workspace)[0]


def test_a_cache_of_another_user_is_ignored(workspace: Workspace, node: Path) -> None:
    write(workspace, "one")
    LedgerView(workspace)
    path = cache_file(node)
    path.write_bytes(path.read_bytes().replace(b"NaN", b"lie"))
    path.parent.chmod(0o770)
    state = LedgerView(workspace).state
    assert state.stages["pretrain-1"].reason == "NaN"


def test_everything_works_without_a_place_for_the_cache(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    write(workspace, "one")
    assert LedgerView(workspace).state == load_state(workspace)[0]


def test_a_journal_truncated_and_continued_differently_invalidates_the_cache(workspace: Workspace) -> None:
    write(workspace, "one")
    LedgerView(workspace)
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    failed = encode(
        make_record(journal.stem, len(lines) - 2, "stage.failed", stage="pretrain-2", data={"reason": "x" * 900})
    )
    with journal.open("r+b") as file:
        file.truncate(sum(map(len, lines[:-2])))
        file.seek(0, os.SEEK_END)
        file.write(failed)
    assert LedgerView(workspace).state == load_state(workspace)[0]


def test_a_view_that_stays_open_starts_over_when_a_journal_is_cut_and_continued(workspace: Workspace) -> None:
    write(workspace, "one")
    view = LedgerView(workspace)
    view.touched.clear()
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    first, *_ = journal.read_bytes().splitlines(keepends=True)
    later = [make_record(journal.stem, number, "stage.done", stage="pretrain-2") for number in range(1, 20)]
    journal.write_bytes(first + b"".join(map(encode, later)))
    view.refresh()
    assert view.state == load_state(workspace)[0]
    assert view.commands(BudgetCommitted) == []
    assert view.touched == {"pretrain-1", "pretrain-2"}


def test_a_hole_that_a_file_server_fills_later_is_read_again(workspace: Workspace) -> None:
    write(workspace, "one")
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    content = journal.read_bytes()
    middle = content.index(b"\n", len(content) // 2)
    journal.write_bytes(content[: middle - 50] + b"\0" * 100 + content[middle + 50 :])
    views = [LedgerView(workspace)]
    assert views[0].state.missing
    journal.write_bytes(content)
    views[0].refresh()
    for view in (*views, LedgerView(workspace)):
        assert (view.state.missing, view.damage.bad_lines) == (0, 0)


def test_events_of_commands_are_cached_with_the_state(
    workspace: Workspace, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, "one")
    expected = LedgerView(workspace).commands(BudgetCommitted)
    read = files_read(monkeypatch)
    assert LedgerView(workspace).commands(BudgetCommitted) == expected
    assert [entry.event.submission for entry in expected] == ["one"]
    assert len(read) == 0
    assert len(list(node.glob("detour-cache-*/*.json"))) == 2


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"stamp": "another", "entries": []}'])
def test_cached_commands_that_do_not_belong_to_the_state_are_read_again(
    workspace: Workspace, node: Path, content: bytes | None
) -> None:
    write(workspace, "one")
    expected = LedgerView(workspace).commands(BudgetCommitted)
    (path,) = node.glob("detour-cache-*/*.commands.json")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert LedgerView(workspace).commands(BudgetCommitted) == expected


def test_new_commands_join_the_cached_ones(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, "one")
    LedgerView(workspace)
    monkeypatch.setattr(views, "WORTH_KEEPING", 10_000)
    write(workspace, "two", 2)
    submissions = [entry.event.submission for entry in LedgerView(workspace).commands(BudgetCommitted)]
    assert submissions == ["one", "two"]


def test_other_code_invalidates_the_cache(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, "one")
    LedgerView(workspace)
    assert cache.restore(workspace) is not None
    monkeypatch.setattr(cache, "code_version", lambda: "edited")
    assert cache.restore(workspace) is None


def test_foreign_records_are_counted_again_from_the_cache(workspace: Workspace) -> None:
    write(workspace, "one")
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    with journal.open("ab") as file:
        file.write(encode(make_record("later", kind="run.paused")))
    for _ in range(2):
        assert LedgerView(workspace).damage.foreign == {"of the unknown kind run.paused": 1}


def test_an_unreadable_journal_is_tried_again_and_does_not_affect_the_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, "one")
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    link = journal.with_name("link.jsonl")
    link.symlink_to("/nonexistent")  # links are not followed
    LedgerView(workspace)
    read = files_read(monkeypatch)
    view = LedgerView(workspace)
    assert read == []
    assert len(view.damage.unreadable) == 1
    link.unlink()
    write(workspace, "two")
    assert LedgerView(workspace).state == load_state(workspace)[0]
