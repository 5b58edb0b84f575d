"""Orders about what is in the queue: done when the queue shows it."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from detour.errors import SchedulerUnavailable
from detour.scheduler.control import Control
from tests.scheduler.desk import REQUESTS, Desk
from tests.scheduler.fake_slurm import Killed


def test_what_a_person_holds_stays_held_until_a_person_lets_it_go(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    clock = itertools.count(1.0)
    control = Control(desk.slurm, desk.ledger, "w", desk.users, now_s=lambda: next(clock))
    control.hold(["pretrain-1"])
    again = desk.submitter().submit(REQUESTS)
    assert [job.id for job in desk.fake.live() if job.held] == [2, 3]
    assert again.remarks == ("held by `detour hold` until `detour release`: 2, 3",)
    control.release(["pretrain-1"])
    desk.job("promote-2").held = True  # a release that got lost is made up for all the same
    assert desk.submitter().submit(REQUESTS).remarks == ()
    assert not any(job.held for job in desk.fake.live())


def test_what_may_have_run_before_it_came_back_held_is_not_released_but_left_to_a_submission(desk: Desk) -> None:
    """A node that knows the id would be drained; run elsewhere, it would be a second copy."""
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    desk.fake.forget_releases(4)
    stages = [stage for request in REQUESTS for stage in request.stages]
    reached = Control(desk.slurm, desk.ledger, "w", desk.users).release(stages)
    assert reached.undecided == {"1": "held as after a crash of slurmctld, it may have run already"}
    assert reached.ids == ("2", "3", "4")
    assert [job.id for job in desk.fake.live() if job.held] == [1]


def test_what_a_submission_that_was_cut_short_has_sent_is_not_released(desk: Desk) -> None:
    desk.fuse.left = 6
    with contextlib.suppress(Killed):
        desk.submitter().submit(REQUESTS)
    desk.fuse.left = None
    held = [str(job.id) for job in desk.fake.live() if job.held]
    assert held
    stages = [stage for request in REQUESTS for stage in request.stages]
    reached = Control(desk.slurm, desk.ledger, "w", desk.users).release(stages)
    assert reached.undecided == dict.fromkeys(held, "its submission was cut short")
    assert [str(job.id) for job in desk.fake.live() if job.held] == held


def test_what_scancel_leaves_in_the_queue_is_named(desk: Desk) -> None:
    desk.kill_at(9)
    desk.fake.order_faults = ["deaf"]
    with pytest.raises(SchedulerUnavailable, match="did not cancel 1, 2, 3: run it again, or `scancel 1 2 3`"):
        desk.submitter().withdraw(["prepare-0", "pretrain-1"])
