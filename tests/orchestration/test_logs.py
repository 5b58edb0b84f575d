"""The log of the requested attempt: for a job with several attempts, by rank, and while it grows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO
from itertools import product
from pathlib import Path

import pytest

from detour.errors import UserError
from detour.jobs.attempt_log import begin_line
from detour.jobs.rank import Rank
from detour.ledger.events import StageSubmitted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.orchestration import logs
from detour.orchestration.log_files import JobLogs
from detour.orchestration.logs import LogPart, has_next, log_part
from detour.planning.stage import Stage
from tests.monitoring.workspaces import PREPARE, TRAIN, end, make_workspace, start


def begin_marker(number: int, rank: int = 0) -> str:
    place = Rank(rank, 2, rank, 2, 0, "n1", 1)
    return f"detour: {begin_line(TRAIN.id, 'pretrain clm', place, '7', number)}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A training whose job 7 was requeued once, on two ranks; job 8 is its next segment."""
    made = make_workspace(tmp_path)
    folder = made.root / "submissions" / TRAIN.id
    folder.mkdir(parents=True)
    (folder / "7_0_log.out").write_text(f"modules\n{begin_marker(1)}step 1\n{begin_marker(2)}step 2\x1b[2J\nstep 3\n")
    (folder / "7_1_log.out").write_text(f"{begin_marker(1, 1)}rank one\n{begin_marker(2, 1)}rank one again\n")
    (folder / "8_0_log.out").write_text(f"{begin_marker(3)}step 4\n")
    for number, job in ((1, "7"), (2, "7"), (3, "8")):
        end(start(made, TRAIN, number, job=job), "interrupted")
    return made


def text(part: LogPart) -> list[str]:
    return [line for line in part.lines() if "detour: begins: " not in line]


def test_the_default_log_is_that_of_the_last_attempt(workspace: Workspace) -> None:
    part = log_part(workspace, ["pretrain clm"])
    assert (part.job, part.attempt, text(part)) == ("8", 3, ["step 4"])


def test_the_attempt_before_a_requeue_is_found_in_the_same_file(workspace: Workspace) -> None:
    assert text(log_part(workspace, [TRAIN.id], 1)) == ["modules", "step 1"]
    assert text(log_part(workspace, [TRAIN.id], 2)) == ["step 2\x1b[2J", "step 3"]
    assert text(log_part(workspace, [TRAIN.id], -1)) == ["step 2\x1b[2J", "step 3"]
    assert text(log_part(workspace, [TRAIN.id], -2)) == ["modules", "step 1"]


def test_a_later_attempt_is_noticed_without_reading_a_log(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, last = log_part(workspace, [TRAIN.id], 1), log_part(workspace, [TRAIN.id])
    monkeypatch.delattr(logs, "_pieces_back")
    assert has_next(workspace, earlier)
    assert not has_next(workspace, last)


@pytest.mark.parametrize(("count", "lines"), [(1, ["step 1"]), (3, ["modules", "step 1"]), (9, ["modules", "step 1"])])
def test_the_last_lines_of_an_attempt_are_its_own(workspace: Workspace, count: int, lines: list[str]) -> None:
    assert text(log_part(workspace, [TRAIN.id], 1).from_last(count)) == lines


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 64])
def test_the_last_lines_are_those_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int
) -> None:
    """For every text of a few letters and ends of lines, however few bytes are read at once."""
    monkeypatch.setattr(logs, "PIECE_BYTES", n_bytes)
    part = LogPart(TRAIN.id, "", "7", None, 1, 0, tmp_path / "log", 0, None)
    for length, count in product(range(7), (1, 2, 3)):
        for letters in product("a\n", repeat=length):
            part.path.write_text(whole := "".join(letters))
            assert list(part.from_last(count).lines()) == whole.removesuffix("\n").split("\n")[-count:] * bool(whole)


def test_of_a_large_log_only_the_end_is_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes = 0

    class Counting(FileIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal read_bytes
            read_bytes += len(block := super().read(size) or b"")
            return block

    steps = "".join(f"step {number}\n" for number in range(100_000))
    folder = workspace.root / "submissions" / TRAIN.id
    (folder / "7_0_log.out").write_text(begin_marker(1) + steps + begin_marker(2) + "step 2\n")
    (folder / "8_0_log.out").write_text(begin_marker(3) + steps)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: Counting(path, mode))
        ends = [log_part(workspace, [TRAIN.id], attempt).from_last(1) for attempt in (1, 2, 3)]
    assert [list(end.lines()) for end in ends] == [["step 99999"], ["step 2"], ["step 99999"]]
    assert read_bytes < 500_000 < len(steps)


def test_only_folders_that_may_have_the_stage_are_listed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    root = workspace.root / "submissions"
    for unit in (PREPARE.id, "prepare-x2-0a1b", "stages-x2-0a1b", "pretrain-x3-0a1b", "continue-s1-1"):
        (root / unit).mkdir()
    (root / "pretrain-x3-0a1b" / "9_0_0_log.out").write_text("of an array\n")
    listed, iterdir = list[str](), Path.iterdir

    def counted(path: Path) -> Iterator[Path]:
        listed.append(path.name)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", counted)
    logs_of = JobLogs(workspace, [])
    assert [path.name for path in logs_of.of(TRAIN.id, "8")] == ["8_0_log.out"]
    assert listed == [TRAIN.id]
    assert [path.name for path in logs_of.of(TRAIN.id, "9_0")] == ["9_0_0_log.out"]
    assert set(listed) == {TRAIN.id, "submissions", "stages-x2-0a1b", "pretrain-x3-0a1b"}


def test_each_rank_has_its_own_log(workspace: Workspace) -> None:
    assert text(log_part(workspace, [TRAIN.id], 2, rank=1)) == ["rank one again"]


def test_the_log_of_a_chain_is_that_of_the_most_recently_active_stage(workspace: Workspace) -> None:
    assert log_part(workspace, ["base"]).stage == TRAIN.id


def submit(workspace: Workspace, stage: Stage, *jobs: str) -> None:
    with Journal.open(workspace, "command-1") as journal:
        for job in jobs:
            journal.append(StageSubmitted(), stage=stage.id, job=job)


def test_a_job_that_ended_before_its_stage_began_is_the_most_recent_activity(workspace: Workspace) -> None:
    submit(workspace, TRAIN, "9")
    log = workspace.root / "submissions" / TRAIN.id / "9_0_log.out"
    log.write_text("ModuleNotFoundError: no module\n")
    for earlier in log.parent.glob("[78]*"):
        os.utime(earlier, (1.0, 1.0))
    part = log_part(workspace, ["base"])
    assert (part.job, part.attempt, text(part)) == ("9", None, ["ModuleNotFoundError: no module"])
    assert log_part(workspace, ["base"], 3).job == "8"


def test_of_several_segments_the_one_with_a_log_is_shown_or_else_the_first_awaited(workspace: Workspace) -> None:
    submit(workspace, PREPARE, "10", "11")
    with pytest.raises(UserError, match="no log yet of job 10"):
        log_part(workspace, [PREPARE.id])
    folder = workspace.root / "submissions" / PREPARE.id
    folder.mkdir()
    (folder / "10_0_log.out").write_text("loading\n")
    assert text(log_part(workspace, [PREPARE.id])) == ["loading"]


@pytest.mark.parametrize(
    ("names", "attempt", "rank", "message"),
    [
        (["pretrain clm"], 9, 0, "no attempt 9; there are attempts 1, 2, 3"),
        (["pretrain clm"], -3, 0, "no attempt -3"),
        (["pretrain clm"], 2, 5, "no log of rank 5; there are ranks 0, 1"),
        ([PREPARE.id], None, 0, "nothing of it has run"),
        (["../../etc"], None, 0, "no chain, sweep or stage"),
    ],
)
def test_a_missing_log_is_answered_with_the_existing_ones(
    workspace: Workspace, names: list[str], attempt: int | None, rank: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        log_part(workspace, names, attempt, rank)


def test_the_log_of_another_job_with_the_same_id_is_not_shown(workspace: Workspace) -> None:
    """It is on another cluster, or Slurm has used the id before: `x2` is an array of it in which the stage is not."""
    for unit, stages in (("prepare-x2-0a1b", f"{PREPARE.id} {TRAIN.id}-b"), ("pretrain-x2-1c2d", f"a {TRAIN.id}")):
        folder = workspace.root / "submissions" / unit
        folder.mkdir()
        (folder / "1-s.sh").write_text(f"stages=('{stages}')\n")
        (folder / "9_0_log.out").write_text(f"of {unit}\n")
    os.utime(workspace.root / "submissions" / "pretrain-x2-1c2d" / "9_0_log.out", (2e9, 2e9))
    submit(workspace, TRAIN, "9")
    assert text(log_part(workspace, [TRAIN.id])) == ["of pretrain-x2-1c2d"]
    submit(workspace, PREPARE, "9")
    assert text(log_part(workspace, [PREPARE.id])) == ["of prepare-x2-0a1b"]
    assert log_part(workspace, ["base"]).stage == TRAIN.id, "its log was written last"
