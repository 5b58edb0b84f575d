"""A Slurm in which every task of an array has its own state, as far as submission and control see it.

`FakeSlurm` fails in more ways, but knows arrays only as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from detour.ledger.process import user_name
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import QUEUE_FIELDS
from detour.scheduler.dependency import terms_of
from detour.scheduler.submission_script import tasks_in
from detour.scheduler.tags import Tag, find_tag
from tests.scheduler.fake_slurm import table

LIVE = frozenset({"PENDING", "RUNNING"})
REFUSED = CommandResult(1, "", "sbatch: error: QOSMaxSubmitJobPerUserLimit\n")


@dataclass(slots=True)
class Task:
    index: int | None
    """None for a job that is no array."""
    stages: tuple[str, ...]
    held: bool
    state: str = "PENDING"

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


@dataclass(slots=True)
class Job:
    id: int
    name: str
    script: Path
    dependency: str
    tasks: list[Task]
    gate: Path | None
    """What its script waits for before it does anything."""
    fulfilled: set[tuple[str, int | None]] = field(default_factory=set)
    """Terms of the dependency, by task, which stay fulfilled when Slurm forgets what they name."""

    @property
    def tag(self) -> Tag:
        found = find_tag(self.name)
        assert found is not None
        return found

    @property
    def is_wave(self) -> bool:
        """Whether it sends the next wave."""
        return self.tag.unit.startswith("continue-")

    def shown(self, task: Task) -> str:
        return str(self.id) if task.index is None else f"{self.id}_{task.index}"


@dataclass(slots=True)
class TaskSlurm:
    limit: int | None = None
    """Number of live jobs and array tasks above which nothing is accepted."""
    faults: list[str] = field(default_factory=list)
    """For the next calls of sbatch, one each: `lost` accepts the job without a reply, `down` does not; "" is none."""
    jobs: dict[int, Job] = field(default_factory=dict)
    ran: list[Job] = field(default_factory=list)
    _next_id: int = 1

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:  # noqa: ARG002
        verb, *arguments = command
        match verb:
            case "sbatch":
                return self._accept(Path(arguments[-1]))
            case "squeue":
                return CommandResult(0, table(QUEUE_FIELDS, list(self._queue())))
            case "scancel":
                for _, task in self._named([word for word in arguments if word != "--quiet"]):
                    task.state = "CANCELLED"
                return CommandResult(0)
            case _:
                return self._order(*arguments)

    def live(self) -> list[tuple[Job, Task]]:
        return [(job, task) for job in self.jobs.values() for task in job.tasks if task.is_live]

    def running(self) -> list[tuple[Job, Task]]:
        return [(job, task) for job, task in self.live() if task.state == "RUNNING"]

    def copy(self) -> TaskSlurm:
        """The same queue, for what would happen."""
        jobs = {
            number: replace(job, tasks=[replace(task) for task in job.tasks], fulfilled=set(job.fulfilled))
            for number, job in self.jobs.items()
        }
        return TaskSlurm(jobs=jobs)

    def purge(self) -> None:
        """Forget jobs that have ended; what waits for them has seen their end."""
        self.settle()
        self.jobs = {job.id: job for job, _ in self.live()}

    def settle(self) -> None:
        """Cancel what can never run; the dependency of a held job is not looked at."""
        while doomed := [task for job, task in self._waiting() if self._verdict(job, task) is False]:
            for task in doomed:
                task.state = "CANCELLED"

    def start(self) -> list[tuple[Job, Task]]:
        """Start all that can; returns it."""
        self.settle()
        started = [(job, task) for job, task in self._waiting() if self._verdict(job, task)]
        for job, task in started:
            task.state = "RUNNING"
            self.ran.append(job)
        return started

    def _waiting(self) -> list[tuple[Job, Task]]:
        return [(job, task) for job, task in self.live() if task.state == "PENDING" and not task.held]

    def _accept(self, script: Path) -> CommandResult:
        fault = self.faults.pop(0) if self.faults else ""
        text = script.read_text()
        options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))
        each, gate = tasks_in(text) or (), re.search(r"^\[ -e (\S+) \] \|\|", text, re.MULTILINE)
        if fault == "down":
            return CommandResult(1, "", "error: Unable to contact slurm controller (connect failure)\n")
        if self.limit is not None and len(self.live()) + len(each) > self.limit:
            return REFUSED
        tasks = [
            Task(index if "array" in options else None, stages, held="hold" in options)
            for index, stages in enumerate(each)
        ]
        dependency = options.get("dependency", "").strip("'")
        number = self._next_id
        self.jobs[number] = Job(number, options["job-name"], script, dependency, tasks, Path(gate[1]) if gate else None)
        self._next_id += 1 + len(tasks)
        return CommandResult(None) if fault == "lost" else CommandResult(0, f"{number}\n")

    def _queue(self) -> Iterator[dict[str, str]]:
        for job, task in self.live():
            yield {
                "job": job.shown(task),
                "state": task.state,
                "reason": "JobHeldUser" if task.held else "None",
                "priority": "0" if task.held else "5000",
                "dependency": self._left(job, task) or "(null)",
                "name": job.name,
                "comment": job.name,
                "user": user_name(),
                "script": str(job.script),
            }

    def _named(self, words: Sequence[str]) -> Iterator[tuple[Job, Task]]:
        for word in words:
            number, _, index = word.partition("_")
            job = self.jobs.get(int(number))
            for task in job.tasks if job else ():
                if job and task.is_live and index in ("", str(task.index)):
                    yield job, task

    def _order(self, order: str, *words: str) -> CommandResult:
        if order in ("release", "uhold"):
            for _, task in self._named(words[0].split(",")):
                task.held = order == "uhold" and task.state == "PENDING"
            return CommandResult(0)
        job = self.jobs[int(words[0].partition("=")[2])]
        if any(task.state == "RUNNING" for task in job.tasks) or not any(task.is_live for task in job.tasks):
            return CommandResult(1, "", "Job is no longer pending execution\n")
        job.dependency, job.fulfilled = words[1].partition("=")[2], set()
        return CommandResult(0)

    def _left(self, job: Job, task: Task) -> str:
        separator, terms = terms_of(job.dependency)
        verdicts = {term: self._term(job, task, term) for term in terms}
        if separator == "?" and True in verdicts.values():
            return ""
        names = {None: "unfulfilled", False: "failed"}
        return separator.join(f"{term}({names[found]})" for term, found in verdicts.items() if found is not True)

    def _verdict(self, job: Job, task: Task) -> bool | None:
        """Whether it may start: True, False for never, None for not yet."""
        separator, terms = terms_of(job.dependency)
        verdicts = [self._term(job, task, term) for term in terms]
        decisive = separator == "?"
        if not verdicts:
            return True
        return decisive if decisive in verdicts else None if None in verdicts else not decisive

    def _term(self, job: Job, task: Task, term: str) -> bool | None:
        kind, _, named = term.partition(":")
        number, _, index = named.partition("_")
        other = self.jobs.get(int(number))
        if other is None or (term, task.index) in job.fulfilled:
            return True
        wanted = str(task.index) if kind == "aftercorr" else index
        tasks = [one for one in other.tasks if wanted in ("", str(one.index))]
        if any(one.is_live for one in tasks):
            return None
        is_ok = all(one.state == "COMPLETED" for one in tasks)
        verdict = {"afternotok": not is_ok, "afterany": True}.get(kind, is_ok)
        if verdict:
            job.fulfilled.add((term, task.index))
        return verdict
