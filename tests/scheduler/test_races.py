"""Two concurrent submitters, as if their claim had failed: the chain completes for any order of their calls."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from detour.errors import SchedulerUnavailable
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.submission import Submission
from tests.scheduler.desk import Desk
from tests.scheduler.fake_slurm import FakeSlurm

EVALUATIONS = tuple((f"evaluate-{number}",) for number in range(3))
CHAIN = [
    JobRequest((("prepare-0",),), Resources(), 60),
    JobRequest((("pretrain-1",),), Resources(), 60, segments=2, after=("prepare-0",)),
    JobRequest((("promote-2",),), Resources(), 60, after=("pretrain-1", "prepare-0")),
    JobRequest(EVALUATIONS, Resources(), 60, after=("promote-2",)),
    JobRequest((("summarize-4",),), Resources(), 60, after=tuple(stage for (stage,) in EVALUATIONS)),
]
OTHER = [
    CHAIN[0],
    JobRequest((("pretrain-8",),), Resources(), 60, segments=2, after=("prepare-0",)),
    JobRequest((("promote-9",),), Resources(), 60, after=("pretrain-8", "prepare-0")),
]
LONE = [JobRequest(EVALUATIONS, Resources(), 60)]


class Turns:
    """Lets one of two threads continue at each call to Slurm, by a seed; a thread that has ended passes its turn."""

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


Chains = tuple[list[JobRequest], list[JobRequest]]


def race(
    folder: Path, seed: int, users: tuple[str, str], chains: Chains = (CHAIN, CHAIN)
) -> tuple[Desk, list[Submission | SchedulerUnavailable]]:
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
            ends[who] = desk.submitter().submit(chains[who])
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


def run_to_the_end(fake: FakeSlurm) -> list[str]:
    """Return units that ran to their end, in order, once no submission is running."""
    ran = []
    while fake.schedule():
        for job in [job for job in fake.live() if job.state == "RUNNING"]:
            assert job.tag is not None
            ran.append(job.tag.unit)
            job.state = "COMPLETED"
    return ran


@pytest.mark.parametrize("users", [("me", "me"), ("me", "you")], ids=["one user", "two users"])
@pytest.mark.parametrize(
    "chains",
    [(CHAIN, CHAIN), (CHAIN, OTHER), (LONE, LONE)],
    ids=["the same chain", "chains that share a stage", "lone jobs"],
)
def test_two_concurrent_submitters_leave_each_job_once_and_chains_that_end(
    tmp_path: Path, users: tuple[str, str], chains: Chains
) -> None:
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        desk, ends = race(folder, seed, users, chains)
        assert [type(end) for end in ends] == [Submission] * 2, seed
        slots = Counter(job.tag.slot for job in desk.fake.live() if job.tag)
        assert set(slots.values()) == {1}, seed
        assert [job.name for job in desk.fake.live() if not job.is_free] == [], seed
        assert set(run_to_the_end(desk.fake)) == {request.unit for chain in chains for request in chain}, seed
        assert desk.fake.denials == [], seed
