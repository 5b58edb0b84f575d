"""Sending: one sbatch per slot, its intent recorded first, and what its answer or silence means for the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from detour.errors import SchedulerUnavailable
from detour.ledger.events import JobAccepted, JobIntended, JobsDropped
from detour.scheduler.answers import SubmissionRefused, SubmitAnswer
from detour.scheduler.commands import LATE_S, Slurm
from detour.scheduler.crash import is_spent, spent_by_tasks
from detour.scheduler.dependency import Dependency
from detour.scheduler.knowledge import Knowledge
from detour.scheduler.reconciliation import SPENT, Decision, dependency_of
from detour.scheduler.requests import JobRequest, first_wave
from detour.scheduler.sent_jobs import Places, Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.submission_script import gate_of
from detour.scheduler.tags import Slot, Tag

MAX_SENDS_PER_SLOT = 2
"""Upper bound on sends per slot: a lost job is sent again once; after that a person has to look."""


class ScriptWriter(Protocol):
    def __call__(self, request: JobRequest, tag: Tag, dependency: Dependency | None, *, gated: bool = False) -> Path:
        """Write the batch script of one job where it can be found again, and return its path.

        The job is submitted held; if `gated`, it is not held and does nothing until `gate_of(path)` exists.
        """


@dataclass(slots=True)
class Look:
    """The queue at one time, and which job fills each slot in it."""

    snapshot: Snapshot = field(default_factory=lambda: Snapshot(0.0, None, None))
    filled: Places = field(default_factory=Places)
    """Grows while jobs are sent."""
    by_id: Mapping[str, Sequence[Sent]] = field(default_factory=dict)
    """Everything sent to this Slurm cluster before, by any user."""


@dataclass(slots=True)
class Sender:
    """Sends the jobs of one submission."""

    slurm: Slurm
    knowledge: Knowledge
    write_script: ScriptWriter
    is_done: Callable[[str], bool]
    new_id: Callable[[], str]
    wait: Callable[[float], None]
    snapshot: Callable[[], Snapshot]
    """Reads the queue for a job if sbatch did not say whether it is there."""
    remark: Callable[[str], None]
    room: dict[str | None, int] | None = None
    """What is left of each QOS's limit, where known; None before the first look."""
    full: str = ""
    """Why no more jobs can be sent now; empty if they can."""
    _sends: Counter[Slot] = field(default_factory=Counter)
    _spent_by_tasks: range = range(0)

    def send(self, decision: Decision, look: Look) -> set[str]:
        """Send what is missing, in order, up to the first job that fails; returns the units touched."""
        missing = {slot for _, slot in decision.send}
        units = list({request.unit: request for request, _ in decision.send}.values())
        fitting, later = first_wave(units, self.room or {})
        if later:
            self.full = "the site takes no more jobs now"
        touched: set[str] = set()
        for request in fitting:
            for slot in request.slots:
                if slot not in missing:
                    continue
                if not self._send_one(request, slot, look):
                    return touched
                touched.add(slot.unit)
        return touched

    def send_gated(self, request: JobRequest, look: Look) -> tuple[Tag, SubmitAnswer]:
        """Send one job that is not held and waits at its gate."""
        return self._sbatch(request, Slot(request.unit), look, gated=True)

    def _send_one(self, request: JobRequest, slot: Slot, look: Look) -> bool:
        """Send one job; returns whether its slot is filled. If not, nothing may refer to it before the next look."""
        if self._sends[slot] >= MAX_SENDS_PER_SLOT:
            raise SchedulerUnavailable(
                f"Slurm lost {slot} again. What was sent is held: look at the queue, run it again"
            )
        self._sends[slot] += 1
        spent: list[str] = []
        while True:
            tag, answer = self._sbatch(request, slot, look)
            job_id = answer.job_id or (self._find(tag, answer) if answer.unknown or answer.refusal else None)
            if job_id is None:
                why = answer.unknown or answer.limit or answer.refusal
                self.knowledge.record(JobsDropped(why=why, tags=[str(tag)]))
                self._judge(slot, answer)
                return False
            if job_id in spent or not self._is_spent(job_id, look):
                break
            spent.append(job_id)
            self.knowledge.record(JobsDropped(why=SPENT, tags=[str(tag)]))
        if spent:
            self.remark(f"{slot}: {SPENT}: {', '.join(spent)}")
        if said := answer.unknown or answer.refusal:
            self.remark(f"{said} for {slot}; it is in the queue as job {job_id}")
        self.knowledge.record(JobAccepted(job_id=job_id, tags=[str(tag)]))
        look.filled.add(self.knowledge.sent[tag])
        if self.room and request.resources.qos in self.room:
            self.room[request.resources.qos] -= len(request.tasks)
        return True

    def _is_spent(self, job_id: str, look: Look) -> bool:
        """Whether a job that Slurm has lost, or a task of one, may still run under this id."""
        if not is_spent(job_id, look.by_id, look.snapshot, self.is_done):
            return int(job_id) in self._spent_by_tasks
        self._spent_by_tasks = self._spent_by_tasks or spent_by_tasks(job_id, look.by_id, self.is_done)
        return True

    def _sbatch(self, request: JobRequest, slot: Slot, look: Look, *, gated: bool = False) -> tuple[Tag, SubmitAnswer]:
        """Record the intent and send the job; returns its tag and sbatch's answer."""
        dependency = dependency_of(request, slot.segment, look.filled)
        tag = Tag(self.knowledge.workspace, slot.unit, slot.segment, self.new_id())
        script = self.write_script(request, tag, dependency, gated=gated)
        self.knowledge.record(
            JobIntended(
                tasks=[list(task) for task in request.tasks],
                dependency=str(dependency or ""),
                wall_s=request.wall_s,
                slurm_cluster=self.slurm.cluster or "",
                tags=[str(tag)],
                **({"gate": str(gate_of(script))} if gated else {}),
            )
        )
        return tag, self.slurm.submit(script)

    def _find(self, tag: Tag, answer: SubmitAnswer) -> str | None:
        """The id of a job without an answer from sbatch, found by its tag after a moment.

        Looks once after a refusal too, which may come from a plugin.
        """
        for pause_s in (0.0,) if answer.refusal else (0.0, LATE_S):
            self.wait(pause_s)
            if live := self.snapshot().live(tag):
                return live[0].ids.id
        return None

    def _judge(self, slot: Slot, answer: SubmitAnswer) -> None:
        """Decide what a failed job means for the rest."""
        if answer.limit:
            self.full = f"the site takes no more jobs now ({answer.limit})"
        elif answer.refusal and "dependency" not in answer.refusal.lower():
            raise SubmissionRefused(
                f"Slurm refuses {slot}: {answer.refusal}. Nothing was submitted; `detour doctor --cluster PROFILE` "
                "compares the profile with the site"
            )
        elif self._sends[slot] >= MAX_SENDS_PER_SLOT:
            self.full = f"{slot} was not accepted: {answer.unknown or answer.refusal}"
        else:
            self.remark(f"{answer.unknown or answer.refusal} for {slot}: tried again")
