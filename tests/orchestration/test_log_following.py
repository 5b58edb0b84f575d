"""A log is awaited, followed into later attempts, and left when its stage has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detour.errors import UserError
from detour.jobs.attempt_log import begin_line
from detour.jobs.rank import Rank
from detour.ledger.events import StageCancelled, StageSubmitted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.monitoring.queries import Reading
from detour.orchestration import log_following
from detour.orchestration.log_following import Endings, awaited, followed, next_of
from detour.orchestration.logs import LogPart, log_part
from tests.monitoring.workspaces import PREPARE, TRAIN, end, make_workspace, mark_done, start


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A training in job 8, about which Slurm reports nothing; checks are not delayed."""
    monkeypatch.setattr(log_following, "LOOK_S", 0.0)
    monkeypatch.setattr("detour.monitoring.monitor._ask", lambda *_: Reading(0.0, {}))
    made = make_workspace(tmp_path)
    with Journal.open(made, "command-1") as journal:
        journal.append(StageSubmitted(), stage=TRAIN.id, job="8")
    return made


def log_of(workspace: Workspace) -> Path:
    path = workspace.root / "submissions" / TRAIN.id / "8_0_log.out"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def begin_marker(number: int) -> str:
    return f"detour: {begin_line(TRAIN.id, 'pretrain clm', Rank(0, 1, 0, 1, 0, 'n1', 1), '8', number)}\n"


def cancel(workspace: Workspace) -> None:
    with Journal.open(workspace, "command-2") as journal:
        journal.append(StageCancelled(), stage=TRAIN.id, job="8")


def wait_for_log(workspace: Workspace, output: list[str], sleep: Callable[[float], None]) -> LogPart:
    return awaited(workspace, ["base"], None, 0, err=False, on_wait=output.append, sleep=sleep)


def test_a_log_that_does_not_exist_yet_is_awaited_with_one_message(workspace: Workspace) -> None:
    output, looks = list[str](), list[float]()

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            log_of(workspace).write_text("loading\n")

    assert list(wait_for_log(workspace, output, sleep).lines()) == ["loading"]
    assert output == [f"pretrain clm ({TRAIN.id}): no log yet of job 8"]


def test_a_log_of_a_stage_cancelled_before_it_wrote_is_not_awaited(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="base: ended without a log"):
        wait_for_log(workspace, [], lambda _: cancel(workspace))


def test_following_ends_when_the_stage_is_cancelled(workspace: Workspace) -> None:
    log_of(workspace).write_text("loading\n")
    part = log_part(workspace, [TRAIN.id])
    lines = followed(workspace, part, lambda _: None, lambda _: cancel(workspace))
    assert list(lines) == ["loading"]


def test_lines_after_the_marker_of_the_stage_are_shown_and_no_more_awaited(workspace: Workspace) -> None:
    log_of(workspace).write_text("loading\n")
    mark_done(workspace, TRAIN)
    part = log_part(workspace, [TRAIN.id])

    last_words = ["done, without a line end"]

    def sleep(_: float) -> None:
        with log_of(workspace).open("a") as file:
            file.write(last_words.pop())

    assert list(followed(workspace, part, lambda _: None, sleep)) == ["loading", "done, without a line end"]


def test_following_a_chain_awaits_the_log_of_the_next_stage_until_all_have_ended(workspace: Workspace) -> None:
    log = workspace.root / "submissions" / PREPARE.id / "7_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_text("read 7 files\n")
    end(start(workspace, PREPARE, job="7"))
    mark_done(workspace, PREPARE)
    output = list[str]()

    def begin(_: float) -> None:
        log_of(workspace).write_text("loading\n")
        start(workspace, TRAIN, job="8")

    first = log_part(workspace, ["base"])
    after = next_of(workspace, ["base"], first, lambda: output.append("waiting"), begin)
    assert after is not None
    assert (first.stage, after.stage, output) == (PREPARE.id, TRAIN.id, ["waiting"])
    assert next_of(workspace, [TRAIN.id], after, lambda: None, begin) is None
    cancel(workspace)
    end(start(workspace, TRAIN, 2, job="8"), "failed")
    assert next_of(workspace, ["base"], after, lambda: None, lambda _: None) is None


def test_following_continues_into_the_next_attempt_until_the_end(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Endings, "have_ended", lambda _, stages: workspace.is_done(*stages))
    path, reported = log_of(workspace), list[int | None]()
    path.write_text(f"{begin_marker(3)}step 4\n")
    end(start(workspace, TRAIN, 3, job="8"), "interrupted")

    def write(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    def requeue() -> None:
        write(f"{begin_marker(4)}step 5\n")
        end(start(workspace, TRAIN, 4, job="8"))

    meanwhile: list[Callable[[], None]] = [
        lambda: write("more\nand "),
        lambda: write("more\n"),
        requeue,
        lambda: mark_done(workspace, TRAIN),
    ]

    def sleep(_: float) -> None:
        if meanwhile:
            meanwhile.pop(0)()

    part = log_part(workspace, [TRAIN.id])
    lines = list(followed(workspace, part, lambda newer: reported.append(newer.attempt), sleep))
    assert [line for line in lines if "begins" not in line] == ["step 4", "more", "and more", "step 5"]
    assert reported == [4]


@pytest.mark.parametrize("in_place", [True, False])
def test_a_truncated_or_replaced_log_is_read_from_its_new_start(workspace: Workspace, in_place: bool) -> None:
    """As on a site that truncates the output of requeued jobs, or after `mv`."""
    log_of(workspace).write_text("one\ntwo\nunfini")
    lines = followed(workspace, log_part(workspace, ["base"]), on_next=lambda part: None, sleep=lambda seconds: None)  # noqa: ARG005
    assert [next(lines), next(lines)] == ["one", "two"]
    if not in_place:
        log_of(workspace).rename(log_of(workspace).with_name("kept"))
    log_of(workspace).write_text("three\n")
    assert [next(lines), next(lines)] == ["unfini", "three"]
