import stat
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given

from detour.ledger import cache
from detour.ledger.cache import _plain, _state, load_cached
from detour.ledger.compaction import compact
from detour.ledger.journal import Journal
from detour.ledger.reading import LedgerReader
from detour.ledger.record import Record
from detour.ledger.state import State, load_state
from detour.ledger.workspace import Workspace
from tests.ledger.records import journals


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder, and a threshold that any record passes."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(cache, "WORTH_KEEPING", 1)
    return folder


def write(workspace: Workspace, name: str, number: int = 1) -> None:
    with Journal.open(workspace, name) as journal:
        place: dict[str, Any] = {"stage": "pretrain-1", "job": "7", "attempt": number}
        journal.record("attempt.started", {"node": "n"}, **place)
        journal.record("progress", {"done": 3}, **place)
        journal.record("energy", {"energy_kwh": 0.5}, **place)
        journal.record("attempt.ended", {"outcome": "failed"}, **place)
        journal.record("stage.failed", {"reason": "NaN"}, **place)
        journal.append("chain.planned", chain="base")


def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes the files whose content is read from now on."""
    noted: list[str] = []
    real = LedgerReader._read_file

    def note(reader: LedgerReader, path: str) -> list[bytes]:
        payloads = real(reader, path)
        noted.extend([path] if payloads else [])
        return payloads

    monkeypatch.setattr(LedgerReader, "_read_file", note)
    return noted


def cache_file(node: Path) -> Path:
    (path,) = node.glob("detour-cache-*/*.json")
    return path


@given(journals())
def test_any_state_survives(written: list[list[Record]]) -> None:
    state = State()
    state.add(record for records in written for record in records[::2])
    content = orjson.dumps(state, default=_plain, option=cache._OPTIONS)
    assert _state(orjson.loads(content)) == state


def test_only_what_is_new_is_read(workspace: Workspace, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, "one")
    fresh, _ = load_cached(workspace)
    assert stat.S_IMODE(cache_file(node).parent.stat().st_mode) == 0o700
    read = files_read(monkeypatch)
    assert load_cached(workspace)[0] == fresh == load_state(workspace)[0]
    assert len(read) == 1
    write(workspace, "two", 2)
    read.clear()
    state, _ = load_cached(workspace)
    assert len(read) == 1
    assert state == load_state(workspace)[0]
    assert state.stages["pretrain-1"].status == "failed"


def test_a_torn_line_and_damage_are_remembered(workspace: Workspace) -> None:
    write(workspace, "one")
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    content = journal.read_bytes()
    journal.write_bytes(b"rubbish\n" + content[:-5])
    for _ in range(2):
        state, reader = load_cached(workspace)
        assert (reader.damage.bad_lines, reader.damage.torn_tails) == (1, 1)
        assert not next(iter(state.writers.values())).closed
    journal.write_bytes(b"rubbish\n" + content)
    state, reader = load_cached(workspace)
    assert (reader.damage.bad_lines, reader.damage.torn_tails) == (1, 0)
    assert next(iter(state.writers.values())).closed


def test_what_changed_under_it_drops_it(workspace: Workspace) -> None:
    write(workspace, "one")
    load_cached(workspace)
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    journal.unlink()
    assert load_cached(workspace)[0] == State()
    write(workspace, "two")
    load_cached(workspace)
    write(workspace, "three")
    compact(workspace, now_s=time.time() + 32 * 86400)
    assert load_cached(workspace)[0] == load_state(workspace)[0]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"format": 1}', b'{"format": 0}', b"\xff", b'{"format":1,"workspace":1}']
)
def test_a_damaged_cache_is_no_cache(workspace: Workspace, node: Path, content: bytes) -> None:
    write(workspace, "one")
    load_cached(workspace)
    cache_file(node).write_bytes(content)
    assert load_cached(workspace)[0] == load_state(workspace)[0]


def test_a_strangers_cache_is_not_read(workspace: Workspace, node: Path) -> None:
    write(workspace, "one")
    load_cached(workspace)
    path = cache_file(node)
    path.write_bytes(path.read_bytes().replace(b"NaN", b"lie"))
    path.parent.chmod(0o770)
    state, _ = load_cached(workspace)
    assert state.stages["pretrain-1"].reason == "NaN"


def test_without_a_place_for_it_all_works(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    write(workspace, "one")
    assert load_cached(workspace)[0] == load_state(workspace)[0]
