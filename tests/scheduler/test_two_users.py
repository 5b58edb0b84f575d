"""Two users of one workspace: each joins what the other has committed, and neither touches the other's jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detour.ledger.events import JobAccepted, JobEvent, JobIntended, JobsCommitted
from detour.scheduler.control import Control
from detour.scheduler.dependency import waited_ids
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.sent_jobs import fold
from detour.scheduler.tags import Slot, Tag
from tests.scheduler.desk import REQUESTS, Desk
from tests.scheduler.fake_slurm import FakeJob, MemoryLedger

MORE = [*REQUESTS, JobRequest((("pretrain-3",),), Resources(), 60, after=("promote-2",))]


@pytest.fixture
def mine(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def yours(mine: Desk) -> Desk:
    return Desk(mine.folder, "you", beside=mine)


@pytest.fixture(autouse=True)
def no_user_changes_a_job_of_another(mine: Desk) -> object:
    yield
    assert mine.fake.denials == []


def jobs_of(desk: Desk, user: str) -> list[FakeJob]:
    return [job for job in desk.fake.live() if job.user == user]


def control(desk: Desk) -> Control:
    return Control(desk.slurm, desk.ledger, "w", desk.users)


def test_jobs_committed_by_another_user_are_joined(mine: Desk, yours: Desk) -> None:
    first = mine.submitter().submit(REQUESTS)
    joined = yours.submitter().submit(MORE)
    assert joined.in_flight == ("prepare-0", "pretrain-1", "promote-2")
    assert joined.remarks == ()
    (own,) = jobs_of(mine, "you")
    assert own.dependency == f"afterok:{first.jobs[Slot('promote-2')]}"
    assert not any(job.held for job in mine.fake.live())
    assert yours.slurm.calls == {"squeue": 3, "sbatch": 1, "scontrol": 1}


@pytest.mark.parametrize("instant", range(1, 13))
def test_an_unfinished_submission_of_another_user_is_left_to_that_user(mine: Desk, yours: Desk, instant: int) -> None:
    mine.kill_at(instant)
    left = jobs_of(mine, "me")
    shown = len(mine.ledger.written)
    submission = yours.submitter().submit(MORE)
    assert set(submission.jobs) == {slot for request in MORE for slot in request.slots}
    assert all(job.is_live and job.held for job in left)
    theirs = {str(job.tag) for job in left}
    assert not any(theirs.intersection(event.tags) for event in mine.ledger.written[shown:])
    again = mine.submitter().submit(REQUESTS)
    assert again.jobs == {slot: job_id for slot, job_id in submission.jobs.items() if slot.unit != "pretrain-3"}
    assert jobs_of(mine, "me") == []


def test_an_unfinished_submission_in_another_grouping_is_withdrawn_when_its_user_returns(
    mine: Desk, yours: Desk
) -> None:
    tasks = (("evaluate-0",), ("evaluate-1",))
    mine.kill_at(3, [JobRequest(tasks, Resources(), 60)])
    (left,) = jobs_of(mine, "me")
    assert not left.is_free
    yours.submitter().submit([JobRequest((task,), Resources(), 60) for task in tasks])
    again = mine.submitter().submit([JobRequest(tasks, Resources(), 60)])
    assert again.in_flight == ("evaluate-0", "evaluate-1")
    assert jobs_of(mine, "me") == []


def test_a_job_whose_gate_another_user_opened_is_joined_even_without_its_commit(mine: Desk, yours: Desk) -> None:
    tasks = (("evaluate-0",), ("evaluate-1",))
    mine.kill_at(4, [JobRequest(tasks, Resources(), 60)])
    (left,) = jobs_of(mine, "me")
    assert left.is_free
    joined = yours.submitter().submit([JobRequest((task,), Resources(), 60) for task in tasks])
    assert joined.in_flight == ("evaluate-0", "evaluate-1")
    assert jobs_of(mine, "you") == []


def test_a_job_held_by_another_user_is_joined_and_reported(mine: Desk, yours: Desk) -> None:
    mine.submitter().submit(REQUESTS)
    control(mine).hold(["promote-2"])
    joined = yours.submitter().submit(MORE)
    assert joined.remarks == ("promote-2 is me's job 4, which is held: only me can release it",)
    assert mine.job("promote-2").held
    assert not mine.job("pretrain-3").held
    mine.submitter().submit(REQUESTS)
    assert mine.job("promote-2").held
    control(mine).release(["promote-2"])
    assert not mine.job("promote-2").held


def test_a_job_that_jobs_of_others_wait_for_is_released_though_it_may_have_run(mine: Desk, yours: Desk) -> None:
    """If sent again, it would have to be cancelled under them."""
    mine.submitter().submit(REQUESTS[:1])
    yours.submitter().submit(MORE)
    mine.fake.forget_releases(10)
    mine.submitter().submit(REQUESTS[:1])
    yours.submitter().submit(MORE)
    assert mine.job("prepare-0").is_free
    assert yours.job("pretrain-1", 1).dependency == "afterok:1"


def test_two_commits_for_one_slot_are_resolved_by_the_later_user(mine: Desk, yours: Desk) -> None:
    """As if the claim had failed: both had looked before either had sent."""
    mine.submitter().submit(REQUESTS[:1])
    hidden = mine.fake.jobs.pop(1)
    yours.submitter().submit(REQUESTS[:1])
    mine.fake.jobs[1] = hidden
    assert mine.submitter().submit(REQUESTS[:1]).jobs == {Slot("prepare-0"): "1"}
    assert len(mine.fake.live()) == 2
    assert yours.submitter().submit(REQUESTS[:1]).jobs == {Slot("prepare-0"): "1"}
    assert [job.user for job in mine.fake.live()] == ["me"]


class LedgerWithRival(MemoryLedger):
    """Another user, whose claim failed too, commits between the last look and the commit, and releases nothing."""

    def __init__(self, desk: Desk, job_id: int) -> None:
        super().__init__(desk.fuse)
        self.jobs, self.tag = desk.fake.jobs, Tag("w", "prepare-0", 1, "theirs")
        self.job = FakeJob(job_id, str(self.tag), held=True, dependency="", stages=("prepare-0",), user="you")

    def append(self, event: JobEvent) -> None:
        if isinstance(event, JobsCommitted) and self.job.id not in self.jobs:
            self.jobs[self.job.id] = self.job
            tags = [str(self.tag)]
            self.written.append(JobIntended(tags=tags, tasks=[["prepare-0"]], dependency=""))
            self.written.append(JobAccepted(tags=tags, job_id=str(self.job.id)))
            self.written.append(JobsCommitted(tags=tags))
        super().append(event)


def test_of_two_concurrent_commits_the_one_with_the_older_job_wins(mine: Desk) -> None:
    mine.ledger = LedgerWithRival(mine, 0)
    submission = mine.submitter().submit(REQUESTS[:2])
    assert submission.jobs[Slot("prepare-0")] == "0"
    assert submission.in_flight == ("prepare-0",)
    assert any("another submission of the same stages goes first" in remark for remark in submission.remarks)
    assert [job.id for job in jobs_of(mine, "me") if job.tag and job.tag.unit == "prepare-0"] == []
    assert mine.job("pretrain-1", 1).dependency == "afterok:0"


def test_a_submission_killed_between_commit_and_release_blocks_others_only_for_a_while(mine: Desk) -> None:
    mine.ledger = LedgerWithRival(mine, 99)
    submission = mine.submitter().submit(REQUESTS[:2])
    assert submission.jobs[Slot("prepare-0")] == "1"
    assert not mine.fake.jobs[1].held
    assert mine.fake.jobs[99].held


def test_cancel_removes_own_jobs_and_names_the_owners_of_the_others(mine: Desk, yours: Desk) -> None:
    mine.submitter().submit(REQUESTS)
    yours.submitter().submit(MORE)
    everything = [stage for request in MORE for stage in request.stages]
    affected = control(yours).cancel(["pretrain-3"], "test", everything)
    assert (affected.ids, affected.stages) == (("5",), ("pretrain-3",))
    assert [(sent.owner, sent.job_id) for sent in affected.theirs] == [("me", str(number)) for number in range(1, 5)]
    assert not any(sent.dropped for sent in fold(mine.ledger.events(), "w").values() if sent.tag.unit != "pretrain-3")
    none = control(yours).cancel(everything, "test")
    assert none.ids == ()
    assert len(none.theirs) == len(jobs_of(mine, "me")) == 4


@pytest.mark.parametrize("order", ["cancel", "hold", "release"])
def test_a_job_of_another_user_with_our_tag_protects_nothing(mine: Desk, order: str) -> None:
    mine.submitter().submit(REQUESTS)
    ours = mine.job("prepare-0")
    mine.fake.jobs[99] = replace(ours, id=99, user="you", state="RUNNING")
    stages = ["prepare-0"]
    commands = control(mine)
    affected = commands.cancel(stages, "test") if order == "cancel" else getattr(commands, order)(stages)
    assert affected.ids == (str(ours.id),)


def test_hold_and_release_leave_jobs_of_others_alone(mine: Desk, yours: Desk) -> None:
    mine.submitter().submit(REQUESTS)
    yours.submitter().submit(MORE)
    everything = [stage for request in MORE for stage in request.stages]
    for affected in (control(yours).hold(everything), control(yours).release(everything)):
        assert affected.ids == ("5",)
        assert {sent.owner for sent in affected.theirs} == {"me"}


def test_only_own_jobs_are_adopted(mine: Desk, yours: Desk) -> None:
    mine.submitter().submit(REQUESTS[:1])
    yours.submitter().submit(MORE)
    mine.ledger.written.clear()
    everything = [stage for request in MORE for stage in request.stages]
    adopted = control(yours).adopt(everything, lambda _: None)
    assert dict(zip(adopted.ids, adopted.stages, strict=True)) == {
        "2": "pretrain-1",
        "3": "pretrain-1",
        "4": "promote-2",
        "5": "pretrain-3",
    }
    assert control(mine).adopt(everything, lambda _: None).stages == ("prepare-0",)


def test_a_finished_job_that_came_back_held_is_kept_while_jobs_of_others_wait_for_it(mine: Desk, yours: Desk) -> None:
    mine.submitter().submit(REQUESTS[:1])
    yours.submitter().submit(REQUESTS)
    mine.done = yours.done = {"prepare-0"}
    for job in mine.fake.live():
        job.held = True  # as a crash of slurmctld restores them
    left = [replace(REQUESTS[1], after=()), REQUESTS[2]]
    remarks = mine.submitter().submit(left).remarks
    assert remarks[-1].endswith("of other chains, which are to be submitted again: 1 (prepare-0)")
    assert jobs_of(mine, "me")[0].held  # released, its node refuses it; cancelled, the others can never start
    yours.submitter().submit(left)
    theirs = jobs_of(mine, "you")
    assert not any(job.held for job in theirs)
    assert "1" not in {number for job in theirs for number in waited_ids(job.dependency)}
    mine.submitter().submit(left)
    assert jobs_of(mine, "me") == []
