"""Orders about jobs in the queue, done when the queue shows it."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from detour.errors import SchedulerUnavailable
from detour.scheduler.by_accounts import NO_RECORD, NO_TAG
from detour.scheduler.control import Affected, Control
from detour.scheduler.sent_jobs import fold
from tests.scheduler.desk import REQUESTS, Desk
from tests.scheduler.fake_slurm import Killed

STAGES = [stage for request in REQUESTS for stage in request.stages]


def test_a_job_held_by_a_person_stays_held_until_a_person_releases_it(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    clock = itertools.count(1.0)
    control = Control(desk.slurm, desk.ledger, "w", desk.users, now_s=lambda: next(clock))
    control.hold(["pretrain-1"])
    again = desk.submitter().submit(REQUESTS)
    assert [job.id for job in desk.fake.live() if job.held] == [2, 3]
    assert again.remarks == ("held by `detour hold` until `detour release`: 2, 3",)
    control.release(["pretrain-1"])
    desk.job("promote-2").held = True  # a lost release is repeated
    assert desk.submitter().submit(REQUESTS).remarks == ()
    assert not any(job.held for job in desk.fake.live())


def test_a_job_that_came_back_held_and_may_have_run_is_left_to_a_submission(desk: Desk) -> None:
    """A node that knows its id would be drained; run elsewhere, it would be a second copy."""
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    desk.fake.forget_releases(4)
    reached = Control(desk.slurm, desk.ledger, "w", desk.users).release(STAGES)
    assert reached.undecided == {"1": "held as after a crash of slurmctld, it may have run already"}
    assert reached.ids == ("2", "3", "4")
    assert [job.id for job in desk.fake.live() if job.held] == [1]


def test_jobs_of_an_unfinished_submission_are_not_released(desk: Desk) -> None:
    desk.fuse.left = 6
    with contextlib.suppress(Killed):
        desk.submitter().submit(REQUESTS)
    desk.fuse.left = None
    held = [str(job.id) for job in desk.fake.live() if job.held]
    assert held
    reached = Control(desk.slurm, desk.ledger, "w", desk.users).release(STAGES)
    assert reached.undecided == dict.fromkeys(held, "its submission was cut short")
    assert [str(job.id) for job in desk.fake.live() if job.held] == held


def test_jobs_that_scancel_leaves_in_the_queue_are_named(desk: Desk) -> None:
    desk.kill_at(9)
    desk.fake.order_faults = ["deaf"]
    with pytest.raises(SchedulerUnavailable, match="did not cancel 1, 2, 3: run it again, or `scancel 1 2 3`"):
        desk.submitter().withdraw(["prepare-0", "pretrain-1"])


def cancelled(desk: Desk) -> Affected:
    control = Control(desk.slurm, desk.ledger, "w", desk.users, wait=lambda seconds: None)  # noqa: ARG005
    return control.cancel(STAGES, "cancelled by its user")


def test_without_squeue_jobs_that_sacct_shows_as_ours_are_cancelled(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    desk.fake.silent = {"squeue"}
    desk.slurm.calls.clear()
    reached = cancelled(desk)
    assert (reached.ids, reached.left, reached.in_queue) == (("1", "2", "3", "4"), {}, frozenset())
    assert "squeue failed" in reached.warnings[0]
    assert desk.fake.live() == []
    assert desk.slurm.calls == {"squeue": 1, "sacct": 2, "scancel": 1}
    desk.fake.silent = set()
    assert {sent.dropped for sent in fold(desk.ledger.events(), "w").values()} == {True}


def test_without_squeue_a_job_under_a_recycled_id_is_left_alone_and_named(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    (lost,) = desk.fake.lose_last(1)
    another = desk.fake.add("mine, of another project", held=False, dependency="", stages=())
    assert another.id == lost.id
    desk.fake.silent = {"squeue"}
    reached = cancelled(desk)
    assert (reached.ids, reached.left) == (("1", "2", "3"), {str(lost.id): NO_TAG})
    assert desk.fake.live() == [another]
    assert reached.in_queue == {"promote-2"}


def test_without_squeue_a_job_that_sacct_does_not_show_yet_is_named(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.job("promote-2").visible = False
    desk.fake.silent = {"squeue"}
    reached = cancelled(desk)
    assert (reached.ids, reached.left) == (("1", "2", "3"), {"4": NO_RECORD})


def test_without_squeue_a_job_that_scancel_left_is_named_until_it_is_gone(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.silent, desk.fake.order_faults = {"squeue"}, ["deaf"]
    assert cancelled(desk).left == dict.fromkeys("1234", "PENDING")
    assert cancelled(desk).left == {}


def test_without_squeue_and_sacct_nothing_is_changed(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.silent = {"squeue", "sacct"}
    with pytest.raises(SchedulerUnavailable, match=r"squeue failed.*sacct failed.*nothing was changed"):
        cancelled(desk)
    assert len(desk.fake.live()) == 4


def test_without_squeue_nothing_is_changed_if_the_ledger_knows_no_job(desk: Desk) -> None:
    desk.fake.silent = {"squeue"}
    with pytest.raises(SchedulerUnavailable, match=r"squeue failed.*nothing was changed"):
        cancelled(desk)
    assert list(desk.ledger.events()) == []


def test_without_squeue_a_job_of_another_user_is_left_alone_and_named_with_its_owner(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.job("promote-2").user = "you"
    desk.fake.silent = {"squeue"}
    reached = cancelled(desk)
    assert [(sent.job_id, sent.owner) for sent in reached.theirs] == [("4", "you")]
    assert ([job.id for job in desk.fake.live()], desk.fake.denials) == ([4], [])
