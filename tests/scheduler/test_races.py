"""Two submitters at once, as if their claim had failed: whatever the order of their calls, the chain goes through."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from detour.errors import SchedulerUnavailable
from detour.scheduler.commands import CommandResult, Slurm
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.submission import Submission
from tests.scheduler.fake_slurm import FakeSlurm
from tests.scheduler.test_submission import Desk

EVALUATIONS = tuple((f"evaluate-{number}",) for number in range(3))
CHAIN = [
    JobRequest((("prepare-0",),), Resources(), 60),
    JobRequest((("pretrain-1",),), Resources(), 60, segments=2, after=("prepare-0",)),
    JobRequest((("promote-2",),), Resources(), 60, after=("pretrain-1", "prepare-0")),
    JobRequest(EVALUATIONS, Resources(), 60, after=("promote-2",)),
    JobRequest((("summarize-4",),), Resources(), 60, after=tuple(stage for (stage,) in EVALUATIONS)),
]
UNITS = [request.unit for request in CHAIN]


class Turns:
    """Lets one of two threads go on at each call to Slurm, as a seed says; a thread that has ended passes its turn."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._change = threading.Condition()
        self._running = {0, 1}
        self._turn = self._random.randrange(2)

    def wait(self, who: int) -> None:
        with self._change:
            self._change.wait_for(lambda: self._turn == who)
            self._turn = self._random.choice(sorted(self._running))
            self._change.notify_all()
            self._change.wait_for(lambda: self._turn == who)

    def end(self, who: int) -> None:
        with self._change:
            self._running.discard(who)
            self._turn = next(iter(self._running), who)
            self._change.notify_all()


def race(folder: Path, seed: int, users: tuple[str, str]) -> tuple[Desk, list[Submission | SchedulerUnavailable]]:
    first = Desk(folder, users[0])
    desks, turns = [first, Desk(folder, users[1], beside=first)], Turns(seed)
    ends: list[Submission | SchedulerUnavailable | None] = [None, None]

    def submit(who: int) -> None:
        desk = desks[who]

        def run(command: Sequence[str], timeout_s: float) -> CommandResult:
            turns.wait(who)
            return first.fake.acting(desk.users[0])(command, timeout_s)

        desk.slurm = Slurm(run)
        try:
            turns.wait(who)
            ends[who] = desk.submitter().submit(CHAIN)
        except SchedulerUnavailable as error:
            ends[who] = error
        finally:
            turns.end(who)

    threads = [threading.Thread(target=submit, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return first, [end for end in ends if end is not None]


def carried_through(fake: FakeSlurm) -> list[str]:
    """Units that ran to their end, in order, once nobody does anything any more."""
    ran = []
    while fake.schedule():
        for job in [job for job in fake.live() if job.state == "RUNNING"]:
            assert job.tag is not None
            ran.append(job.tag.unit)
            job.state = "COMPLETED"
    return ran


@pytest.mark.parametrize("seed", range(40))
def test_one_users_two_submitters_leave_one_chain_that_ends(tmp_path: Path, seed: int) -> None:
    desk, ends = race(tmp_path, seed, ("me", "me"))
    assert len(ends) == 2
    if not any(isinstance(end, Submission) for end in ends):
        desk.slurm = Slurm(desk.fake)
        desk.submitter().submit(CHAIN)
    assert sorted(set(carried_through(desk.fake))) == sorted(UNITS)
    assert [job.name for job in desk.fake.live() if job.held] == []
