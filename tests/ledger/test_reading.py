import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.ledger import reading
from detour.ledger.events import CheckpointSaved, EnergyCounted
from detour.ledger.journal import Journal
from detour.ledger.lines import decode, parse
from detour.ledger.reading import LedgerReader, history, journal_paths
from detour.ledger.record import Entry, encode, entry_of
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from tests.ledger.lines import load_state, refresh
from tests.ledger.records import make_record

WRITTEN = [make_record(sequence=number, data={"text": 'é\n"x' * (number % 5), "n": number}) for number in range(12)]
ENTRIES = [entry for record in WRITTEN if (entry := entry_of(record)) is not None]
LINES = [encode(record) for record in WRITTEN]
CONTENT = b"".join(LINES)
STARTS = [sum(map(len, LINES[:number])) for number in range(len(LINES))]


def write_file(workspace: Workspace, name: str, content: bytes) -> Path:
    path = workspace.ledger / "2030-01" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def read_all(reader: LedgerReader) -> list[Entry[Any]]:
    return [entry for batch in reader.read_new() for entry in batch]


def lost_and_counted(content: bytes) -> tuple[set[int], int]:
    """Return sequence numbers that cannot be read from damaged content, and the amount of damage counted."""
    parsed = parse(content)
    values = decode(parsed.payloads)
    found = [entry for value in values if (entry := entry_of(value)) is not None]
    assert len(found) == len(values)
    assert all(value == WRITTEN[entry.sequence] for value, entry in zip(values, found, strict=True))
    state = State()
    state.add(found)
    torn = parsed.used < len(content)
    damage = parsed.bad_lines + parsed.nul_bytes + state.missing + torn
    return set(range(len(WRITTEN))) - {entry.sequence for entry in found}, damage


def touched(start: int, end: int) -> set[int]:
    """Return the records that own a byte of [start, end)."""
    return {n for n, line in enumerate(LINES) if STARTS[n] < end and start < STARTS[n] + len(line)}


@pytest.mark.parametrize("piece_bytes", [1, 40, len(LINES[0]), 1000])
def test_a_file_read_in_pieces_is_read_completely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr("detour.ledger.reading.PIECE_BYTES", piece_bytes)
    workspace = Workspace(tmp_path)
    workspace.create()
    write_file(workspace, "a.jsonl", CONTENT + LINES[0][:20])
    reader = LedgerReader(workspace)
    assert (read_all(reader), reader.damage.torn_tails, reader.damage.bad_lines) == (ENTRIES, 1, 0)
    write_file(workspace, "a.jsonl", CONTENT + LINES[0])
    assert read_all(reader) == ENTRIES[:1]


def test_written_records_are_read() -> None:
    assert lost_and_counted(CONTENT) == (set(), 0)


@given(st.integers(0, len(CONTENT)))
def test_a_truncation_loses_only_what_was_cut(size: int) -> None:
    lost, damage = lost_and_counted(CONTENT[:size])
    assert lost == touched(size, len(CONTENT))
    assert damage == (size not in (*STARTS, len(CONTENT)))


@given(st.integers(0, len(CONTENT) - 1), st.binary(min_size=1, max_size=400))
def test_an_overwrite_loses_only_the_records_it_touched(start: int, junk: bytes) -> None:
    end = min(start + len(junk), len(CONTENT))
    lost, damage = lost_and_counted(CONTENT[:start] + junk[: end - start] + CONTENT[end:])
    assert lost <= touched(start, end)
    assert damage >= bool(lost)


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 400))
def test_a_hole_of_nul_bytes_loses_only_the_records_it_touched(start: int, size: int) -> None:
    end = min(start + size, len(CONTENT))
    lost, damage = lost_and_counted(CONTENT[:start] + bytes(end - start) + CONTENT[end:])
    in_text = {n for n in touched(start, end) if start < STARTS[n] + len(LINES[n]) - 1}
    assert in_text <= lost <= touched(start, end), "a record without its line end may still be readable"
    assert damage > 0


@given(st.integers(0, len(CONTENT)), st.integers(1, 400))
def test_missing_bytes_lose_only_the_records_they_touched(start: int, size: int) -> None:
    end = min(start + size, len(CONTENT))
    lost, damage = lost_and_counted(CONTENT[:start] + CONTENT[end:])
    assert lost <= touched(start, end)
    assert damage > 0 or end == len(CONTENT) or not lost


@given(st.sampled_from(STARTS), st.binary(min_size=1, max_size=400))
def test_junk_between_records_loses_none(start: int, junk: bytes) -> None:
    lost, damage = lost_and_counted(CONTENT[:start] + junk + CONTENT[start:])
    assert lost == set()
    assert damage > 0 or not junk.strip(b"\n")


def test_a_hostile_line_is_read_quickly() -> None:
    parsed = parse(b'00000000 {"' * 20_000 + b"\n" + LINES[0])
    assert (len(parsed.payloads), parsed.bad_lines) == (1, 1)


def test_reading_again_reads_only_what_is_new(workspace: Workspace) -> None:
    reader = LedgerReader(workspace)
    assert read_all(reader) == []
    path = write_file(workspace, "w.jsonl", LINES[0] + LINES[1][:20])
    assert read_all(reader) == ENTRIES[:1]
    assert reader.damage.torn_tails == 1
    path.write_bytes(b"".join(LINES[:3]))
    assert read_all(reader) == ENTRIES[1:3]
    assert reader.damage.torn_tails == 0
    assert read_all(reader) == []
    path.write_bytes(LINES[0])
    assert read_all(reader) == ENTRIES[:1]
    write_file(workspace, "v.jsonl", LINES[3])
    path.unlink()
    assert read_all(reader) == ENTRIES[3:4]


def test_damage_is_reported_each_time(workspace: Workspace) -> None:
    write_file(workspace, "w.jsonl", LINES[0] + b"rubbish\n" + bytes(7) + LINES[1] + b"torn")
    state, reader = load_state(workspace)
    for _ in range(2):
        damage = reader.damage
        assert damage.bad_lines == 1
        assert damage.nul_bytes == 7
        assert damage.torn_tails == 1
        assert damage.unreadable == []
        refresh(state, reader)
    assert state.missing == 0


def test_other_files_are_not_read(workspace: Workspace, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(LINES[0])
    path = write_file(workspace, ".w.reserve", bytes(100))
    (path.parent / "link.jsonl").symlink_to(secret)
    os.mkfifo(path.parent / "pipe.jsonl")
    (workspace.ledger / "note.txt").write_text("not a month")
    reader = LedgerReader(workspace)
    assert read_all(reader) == []
    assert [text.partition(": ")[0] for text in reader.damage.unreadable] == [str(path.parent / "link.jsonl")]


def test_records_of_other_stages_are_not_decoded(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names a stage that is asked for is decoded, so that no order of fields and no text can hide one."""
    records = [make_record(sequence=number, stage=f"prepare-{number % 50}", data={"n": 1}) for number in range(200)]
    records += [make_record(sequence=200, stage=None, data={"stage": "prepare-7"})]
    records += [make_record(sequence=201, stage="prepare-7", data={"text": '"stage":"prepare-8"', "stage": "x"})]
    write_file(workspace, "a.jsonl", b"".join(map(encode, records)))
    seen = list[bytes]()

    def counted(payloads: list[bytes]) -> list[object]:
        seen.extend(payloads)
        return decode(payloads)

    monkeypatch.setattr(reading, "decode", counted)
    found = read_all(LedgerReader(workspace, stages=["prepare-7", "prepare-9"]))
    assert [entry.sequence for entry in found] == [*(n for n in range(200) if n % 50 in (7, 9)), 201]
    assert len(seen) == len(found) + 1


def test_a_file_that_vanishes_is_searched_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_file(workspace, "w.jsonl", LINES[0])
    listed = journal_paths(workspace)
    path.rename(path.with_name("segment-1.jsonl"))
    listings = [listed, journal_paths(workspace)]
    monkeypatch.setattr("detour.ledger.reading.journal_paths", lambda _workspace: listings.pop(0))
    assert read_all(LedgerReader(workspace)) == ENTRIES[:1]


def test_the_history_of_a_kind_is_read(workspace: Workspace) -> None:
    with Journal.open(workspace, "w") as journal:
        for done in range(3):
            journal.append(CheckpointSaved(step=done, tokens=done), stage="pretrain-1", attempt=1)
            journal.append(EnergyCounted(), stage="pretrain-1", attempt=1)
    (path,) = journal_paths(workspace)
    (Path(path).parent / "segment-1.jsonl").write_bytes(Path(path).read_bytes())
    assert [entry.event.step for entry in history(workspace, (CheckpointSaved,))] == [0, 1, 2]
    assert len(history(workspace, (CheckpointSaved, EnergyCounted))) == 6


WRITER = """
import sys
from pathlib import Path
from detour.ledger.events import ProgressMade
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
print("imported", flush=True)
sys.stdin.readline()
journal = Journal.open(Workspace(Path(sys.argv[1])), "w" + sys.argv[2])
for index in range(10**9):
    event = ProgressMade(done=index, total=10**9, unit="x" * (index % 500), figures={})
    journal.append(event, stage="pretrain-1", attempt=1)
    if index == 20:
        print("writing", flush=True)
"""


def test_killed_writers_leave_no_bad_line_and_no_gap(workspace: Workspace) -> None:
    commands = [[sys.executable, "-c", WRITER, str(workspace.root), str(number)] for number in range(12)]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for command in commands]
    for writer in writers:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"imported\n"
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writer.send_signal(signal.SIGKILL)
    for writer in writers:
        writer.communicate()
    state, reader = load_state(workspace)
    assert len(state.writers) == 12
    assert reader.damage.foreign == {}
    assert all(writer.next > 20 and not writer.closed for writer in state.writers.values())
    assert reader.damage.bad_lines == 0
    assert reader.damage.nul_bytes == 0
    assert state.missing == 0


@pytest.mark.parametrize(
    ("kind", "data", "read"), [("journal.closed", {}, 0), ("gradient.skipped", {"step": 1, "in_a_row": 1}, 1)]
)
def test_a_closed_journal_is_only_read_again_in_a_full_pass(
    workspace: Workspace, kind: str, data: dict[str, Any], read: int
) -> None:
    last = make_record(sequence=12, kind=kind, data=data)
    path = write_file(workspace, "job.jsonl", CONTENT + encode(last))
    reader = LedgerReader(workspace)
    assert len(read_all(reader)) == 13
    with path.open("ab") as file:
        file.write(encode(make_record(sequence=13)))
    assert sum(map(len, reader.read_new(lately=True))) == read
    assert len(read_all(reader)) == 1 - read


def test_a_journal_seen_before_its_first_record_is_read_with_the_new_ones(workspace: Workspace) -> None:
    path = write_file(workspace, "job.jsonl", b"")
    reader = LedgerReader(workspace)
    assert read_all(reader) == []
    path.write_bytes(CONTENT)
    assert sum(map(len, reader.read_new(lately=True))) == 12
