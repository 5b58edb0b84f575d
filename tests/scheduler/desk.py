"""A submitter on a fake Slurm, and the jobs that most tests of it send."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.dependency import Dependency
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.submission import Submitter
from detour.scheduler.submission_script import ScriptStyle, gate_of, submission_script
from detour.scheduler.tags import Slot, Tag
from tests.scheduler.fake_slurm import FakeJob, FakeSlurm, Fuse, Killed, MemoryLedger

REQUESTS = [
    JobRequest((("prepare-0",),), Resources(), 60),
    JobRequest((("pretrain-1",),), Resources(), 60, segments=2, after=("prepare-0",)),
    JobRequest((("promote-2",),), Resources(), 60, after=("pretrain-1",)),
]


class Desk:
    """A submitter on a fake Slurm, new for every call, as for every command."""

    def __init__(self, folder: Path, user: str = "me", beside: Desk | None = None) -> None:
        """`beside` is another desk: a second user of the same workspace."""
        self.folder = folder
        self.users = [user, *({"me", "you"} - {user})]
        self.fake: FakeSlurm = beside.fake if beside else FakeSlurm()
        self.fuse: Fuse = beside.fuse if beside else Fuse()
        self.ledger: MemoryLedger = beside.ledger if beside else MemoryLedger(self.fuse)
        self.slurm = Slurm(self._run)
        self.done: set[str] = set()

    def on(self, cluster: str) -> Desk:
        """This user's desk for another cluster of the site, with the same ledger."""
        there = Desk(self.folder, self.users[0], self)
        there.fake = FakeSlurm()
        there.slurm = Slurm(
            lambda command, timeout_s: there._run([command[0], *command[2:]], timeout_s), cluster=cluster
        )
        return there

    def _run(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        return self.fuse.guard(self.fake.acting(self.users[0]), command, timeout_s)

    def _write(self, request: JobRequest, tag: Tag, dependency: Dependency | None, *, gated: bool = False) -> Path:
        path = self.folder / f"{tag.submission}.sh"
        gate = gate_of(path) if gated else None
        style = ScriptStyle(Path("/w"), "python")
        path.write_text(submission_script(request, tag, dependency, style, Path("/logs"), gate))
        return path

    def submitter(
        self, limits: Mapping[str | None, int] | None = None, kept_free: Collection[str | None] = ()
    ) -> Submitter:
        return Submitter(
            self.slurm,
            self.ledger,
            "w",
            self.users,
            self._write,
            limits or {},
            kept_free,
            self.done.__contains__,
            wait=lambda seconds: None,  # noqa: ARG005
            open_gate=lambda gate: self.fuse.guard(Path(gate).touch),
        )

    def kill_at(self, instant: int, requests: Sequence[JobRequest] = REQUESTS) -> None:
        self.fuse.left = instant
        with pytest.raises(Killed):
            self.submitter().submit(requests)
        self.fuse.left = None

    def job(self, unit: str, segment: int = 1) -> FakeJob:
        (found,) = [job for job in self.fake.live() if job.tag and job.tag.slot == Slot(unit, segment)]
        return found
