import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detour.files import fsync_directory
from detour.ledger import compaction
from detour.ledger.claims import claim
from detour.ledger.compaction import IDLE_S, compact
from detour.ledger.events import AttemptEnded, AttemptStarted, CheckpointSaved, ProgressMade
from detour.ledger.journal import Journal
from detour.ledger.reading import LedgerReader
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from tests.ledger.lines import load_state, refresh

NEXT_MONTH_S = time.time() + 32 * 86400


def write_journals(workspace: Workspace, count: int = 5) -> None:
    for index in range(count):
        with Journal.open(workspace, f"w{index}") as journal:
            beside: dict[str, Any] = {"stage": f"pretrain-{index % 2}", "job": "7"}
            journal.append(AttemptStarted(), attempt=index, **beside)
            for done in range(10):
                journal.append(ProgressMade(done=done, total=10, unit="tokens", figures={}), attempt=index, **beside)
            journal.append(AttemptEnded(outcome="interrupted"), attempt=index, **beside)


def stages_and_writers(state: State) -> tuple[object, object]:
    writers = {name: writer for name, writer in state.writers.items() if not name.startswith("segment-")}
    return state.stages, writers


def month(workspace: Workspace) -> Path:
    (folder,) = workspace.ledger.iterdir()
    return folder


def test_one_compacted_file_holds_the_records_of_many_journals(workspace: Workspace) -> None:
    write_journals(workspace)
    before, reader = load_state(workspace)
    (done,) = compact(workspace, now_s=NEXT_MONTH_S)
    assert done.journals == 5
    assert done.kept == 0
    assert done.records == 70
    assert done.bad_lines == 0
    (segment,) = month(workspace).iterdir()
    assert segment.name.startswith("segment-")
    assert segment.stat().st_mode & 0o777 == 0o600
    after, _ = load_state(workspace)
    assert stages_and_writers(after) == stages_and_writers(before)
    refresh(before, reader)
    assert stages_and_writers(after) == stages_and_writers(before)
    assert compact(workspace, now_s=NEXT_MONTH_S) == []


def test_the_current_month_and_live_writers_are_left_alone(workspace: Workspace) -> None:
    write_journals(workspace, 2)
    assert compact(workspace) == []
    open_journal = Journal.open(workspace, "alive")
    (done,) = compact(workspace, now_s=NEXT_MONTH_S, idle_s=40 * 86400)
    assert (done.journals, done.kept) == (2, 1)
    open_journal.append(CheckpointSaved(step=3, tokens=3), stage="pretrain-0", attempt=9)
    open_journal.close()
    state, _ = load_state(workspace)
    assert state.stages["pretrain-0"].attempts[-1].checkpoint is not None


def test_a_long_dead_writer_is_compacted_and_its_reserve_removed(workspace: Workspace) -> None:
    write_journals(workspace, 1)
    lost = Journal.open(workspace, "killed")
    lost.append(CheckpointSaved(step=3, tokens=3), stage="pretrain-0", attempt=9)
    past_s = NEXT_MONTH_S - 2 * IDLE_S
    for path in month(workspace).iterdir():
        os.utime(path, (past_s, past_s))
    (done,) = compact(workspace, now_s=NEXT_MONTH_S)
    assert (done.journals, done.kept) == (2, 0)
    assert [path.name[:8] for path in month(workspace).iterdir()] == ["segment-"]


def test_damage_is_still_reported_after_compaction(workspace: Workspace) -> None:
    write_journals(workspace, 3)
    damaged = next(iter(month(workspace).glob("w1.*.jsonl")))
    content = damaged.read_bytes().replace(b'"done":4', b'"done":5')
    damaged.write_bytes(content[:-1])
    before, reader = load_state(workspace)
    assert reader.damage.bad_lines == 1
    assert reader.damage.torn_tails == 1
    assert before.missing == 1
    compact(workspace, now_s=NEXT_MONTH_S + IDLE_S)
    after, reader = load_state(workspace)
    assert reader.damage.bad_lines == 0
    assert reader.damage.torn_tails == 0
    assert after.missing == 1
    assert after.damaged_sources == 1
    assert all(writer.closed for name, writer in after.writers.items() if name.startswith("w"))


@pytest.mark.parametrize("step", range(9))
def test_a_crash_at_any_step_loses_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Stop at the n-th change of the file system, then run again."""
    write_journals(workspace)
    expected, _ = load_state(workspace)
    steps = iter(range(step))

    class Crash(Exception):
        pass

    def crash_or(action: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **named: Any) -> Any:
            if next(steps, None) is None:
                raise Crash
            return action(*arguments, **named)

        return act

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash_or(Path.replace))
        patched.setattr(Path, "unlink", crash_or(Path.unlink))
        patched.setattr(compaction, "fsync_directory", crash_or(fsync_directory))
        patched.setattr(compaction, "_clear_leftovers", lambda *_: None)
        patched.setattr(compaction, "claim", lambda *_: open(os.devnull))  # noqa: PTH123, SIM115
        try:
            compact(workspace, now_s=NEXT_MONTH_S)
        except Crash:
            pass
        else:
            assert step > 6
    state, _ = load_state(workspace)
    assert stages_and_writers(state) == stages_and_writers(expected)
    compact(workspace, now_s=NEXT_MONTH_S)
    state, reader = load_state(workspace)
    assert stages_and_writers(state) == stages_and_writers(expected)
    assert len(list(month(workspace).glob("*.jsonl"))) == 1
    assert reader.damage.bad_lines == 0


def test_too_few_journals_and_those_of_others_are_left_alone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journals(workspace)
    assert compact(workspace, now_s=NEXT_MONTH_S, fewest=6) == []
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert compact(workspace, now_s=NEXT_MONTH_S) == []
    assert len(list(month(workspace).iterdir())) == 5


def test_an_error_of_the_compaction_stops_no_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compaction, "compact", full)
    compaction.tidy(workspace)


def test_two_processes_do_not_compact_at_once(workspace: Workspace) -> None:
    write_journals(workspace)
    with claim(workspace, f"compact-{month(workspace).name}", "another"):
        assert compact(workspace, now_s=NEXT_MONTH_S) == []
    assert len(compact(workspace, now_s=NEXT_MONTH_S)) == 1


COMPACT = """
import sys, time
from pathlib import Path
from detour.ledger.compaction import compact
from detour.ledger.workspace import Workspace
print("ready", flush=True)
compact(Workspace(Path(sys.argv[1])), now_s=time.time() + 32 * 86400)
"""


def test_a_reader_during_a_killed_compaction_sees_everything(workspace: Workspace) -> None:
    write_journals(workspace, 40)
    expected, _ = load_state(workspace)
    for delay_s in (0.0, 0.002, 0.005, 0.01, 0.02):
        command = [sys.executable, "-c", COMPACT, str(workspace.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay_s)
            during = State()
            refresh(during, LedgerReader(workspace))
            process.send_signal(signal.SIGKILL)
        assert stages_and_writers(during) == stages_and_writers(expected)
        after, _ = load_state(workspace)
        assert stages_and_writers(after) == stages_and_writers(expected)
