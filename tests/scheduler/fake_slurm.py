"""A Slurm in one object that behaves as the real one does on its worst days.

It loses replies, answers late, prints empty ids, refuses past a limit, forgets ended jobs, loses what it accepted last
and gives the id out again, and goes down. It is a `Runner`, so everything above the command line is real. Users may
query each other's jobs, but not change them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from detour.ledger.events import JobEvent
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import ACCOUNTING_FIELDS, QUEUE_FIELDS, SEPARATOR, Runner
from detour.scheduler.dependency import waited_ids
from detour.scheduler.job_ids import parse_job_ids
from detour.scheduler.tags import Tag, find_tag

FAULTS = (
    "lost reply",
    "no reply",
    "late",
    "empty",
    "empty, accepted",
    "limit",
    "down",
    "wrong number",
    "refused, accepted",
)
ORDER_FAULTS = ("deaf", "down")
ENDED = frozenset({"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED by 0"})
DENIED = CommandResult(1, "", "Access/permission denied\n")
UNTRIED = CommandResult(1, "", "allocation failure: Requested node configuration is not available\n")
DOWN = CommandResult(1, "", "error: Unable to contact slurm controller (connect failure)\n")


@dataclass(slots=True)
class FakeJob:
    id: int
    name: str
    held: bool
    dependency: str
    stages: tuple[str, ...]
    user: str = "me"
    qos: str = ""
    state: str = "PENDING"
    gate: Path | None = None
    """What its script waits for before it does anything."""
    script: str = ""
    reason: str = ""
    """Why it is held, if not by a person."""
    visible: bool = True
    """False if accepted, but not visible yet."""
    released: bool = False
    by_client: bool = False
    """Cancelled by scancel."""
    tasks: set[int] | None = None
    """For an array, the tasks that are left."""
    let_go: set[int] = field(default_factory=set)
    """Tasks of a held array that are not held."""

    @property
    def shown_ids(self) -> list[str]:
        """As `squeue --array` shows it: each task of an array on its own."""
        return [str(self.id)] if self.tasks is None else [f"{self.id}_{task}" for task in sorted(self.tasks)]

    def is_task_held(self, task: int) -> bool:
        return self.held and task not in self.let_go

    def hold(self, task: str, *, held: bool) -> None:
        """Hold or release it, or one task of it if the number is not empty."""
        everything = self.tasks or {0}
        free = everything & self.let_go if self.held else everything
        concerned = {int(task)} if task else everything
        free = free - concerned if held else free | concerned
        self.held, self.let_go = free < everything, free if free < everything else set()

    @property
    def tag(self) -> Tag | None:
        return find_tag(self.name)

    @property
    def is_live(self) -> bool:
        return self.state not in ENDED

    @property
    def is_free(self) -> bool:
        """Whether nothing keeps it from doing its work once what it waits for has ended."""
        return not self.held and (self.gate is None or self.gate.exists())


@dataclass(slots=True)
class FakeSlurm:
    jobs: dict[int, FakeJob] = field(default_factory=dict)
    next_id: int = 1
    user: str = "me"
    """The user who asks now."""
    denials: list[str] = field(default_factory=list)
    """Orders that a user gave for another user's job."""
    down: bool = False
    silent: set[str] = field(default_factory=set)
    """Clients that get no answer."""
    faults: list[str] = field(default_factory=list)
    """For the next calls of sbatch, one each; "" is no fault."""
    order_faults: list[str] = field(default_factory=list)
    """The same for scancel and scontrol: `deaf` does nothing and exits 0."""
    rewrites: bool = False
    """Whether a plugin of the site changes names and comments of jobs."""
    limit: int | None = None
    """Number of live jobs above which nothing is accepted."""
    launched: set[int] = field(default_factory=set)
    """Ids known to the nodes, which refuse to launch one of them again."""

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:  # noqa: ARG002
        verb, *arguments = command
        if "--test-only" in arguments:
            return UNTRIED
        if verb == "sbatch":
            return self._sbatch(Path(arguments[-1]))
        if self.down or verb in self.silent:
            return DOWN
        if verb in ("scancel", "scontrol") and any(job.user != self.user for job in self._named(arguments)):
            self.denials.append(" ".join(command))
            return DENIED
        if verb in ("scancel", "scontrol") and (fault := self.order_faults.pop(0) if self.order_faults else ""):
            return DOWN if fault == "down" else CommandResult(0)
        return {"squeue": self._squeue, "sacct": self._sacct, "scancel": self._scancel, "scontrol": self._scontrol}[
            verb
        ](arguments)

    def acting(self, user: str) -> Runner:
        """The same Slurm, as this user's clients reach it."""

        def run(command: Sequence[str], timeout_s: float) -> CommandResult:
            self.user = user
            return self(command, timeout_s)

        return run

    def _named(self, arguments: Sequence[str]) -> list[FakeJob]:
        """Live jobs named by an order, in any of its forms."""
        ids = arguments[:2] if arguments[0] == "update" else ",".join(arguments).split(",")
        numbers = {int(word.removeprefix("JobId=")) for word in ids if word.removeprefix("JobId=").isdigit()}
        return [self.jobs[number] for number in numbers if number in self.jobs and self.jobs[number].is_live]

    def live(self) -> list[FakeJob]:
        return [job for job in self.jobs.values() if job.is_live]

    def _sbatch(self, path: Path) -> CommandResult:
        script = path.read_text()
        fault = "down" if self.down else self.faults.pop(0) if self.faults else ""
        if fault == "down":
            return DOWN
        if fault == "empty":
            return CommandResult(0, "\n")
        if fault == "limit" or (self.limit is not None and len(self.live()) >= self.limit):
            return CommandResult(1, "", "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: failed\n")
        if fault == "no reply":
            return CommandResult(None)
        options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", script, re.MULTILINE))
        stages = tuple(dict.fromkeys(re.findall(r"[a-z]+-\d+[a-z]*", script.partition("# command")[2])))
        job = self.add(options["job-name"], "hold" in options, options.get("dependency", "").strip("'"), stages)
        job.qos = options.get("qos", "")
        job.visible, job.script = fault != "late", str(path)
        gate = re.search(r"^\[ -e (\S+) \] \|\|", script, re.MULTILINE)
        job.gate = Path(gate[1]) if gate else None
        if "array" in options:
            job.tasks = set(range(int(options["array"].partition("%")[0].rpartition("-")[2]) + 1))
        if fault in ("lost reply", "late"):
            return CommandResult(None)
        if fault == "refused, accepted":
            return CommandResult(1, "", "sbatch: error: spank: a plugin of the site failed\n")
        printed = {"empty, accepted": "", "wrong number": str(job.id + 1000)}.get(fault, str(job.id))
        return CommandResult(0, f"{printed}\n")

    def add(self, name: str, held: bool, dependency: str, stages: tuple[str, ...]) -> FakeJob:
        job = FakeJob(self.next_id, name, held, dependency, stages, self.user)
        self.jobs[job.id] = job
        self.next_id += 1
        return job

    def _squeue(self, arguments: Sequence[str]) -> CommandResult:
        (users,) = [word.partition("=")[2].split(",") for word in arguments if word.startswith("--user=")]
        lines = [
            {
                "job": shown,
                "state": job.state,
                "reason": (job.reason or "JobHeldUser") if held else "Dependency" if job.dependency else "None",
                "priority": "0" if held else "5000",
                "dependency": self._unfulfilled(job.dependency) or "(null)",
                "name": "rewritten" if self.rewrites else job.name,
                "comment": "rewritten" if self.rewrites else job.name,
                "user": job.user,
                "qos": job.qos,
                "script": job.script or "(null)",
            }
            for job in self.jobs.values()
            if job.is_live and job.visible and job.user in users
            for shown in job.shown_ids
            for held in [job.is_task_held(int(shown.partition("_")[2] or 0))]
        ]
        return CommandResult(0, table(QUEUE_FIELDS, lines))

    def _sacct(self, _arguments: Sequence[str]) -> CommandResult:
        lines = [
            {
                "job": str(job.id),
                "state": job.state,
                "exit": "0:0",
                "name": job.name,
                "submitted": str(job.id),
                "user": job.user,
            }
            for job in self.jobs.values()
            if job.visible
        ]
        return CommandResult(0, table(ACCOUNTING_FIELDS, lines))

    def _unfulfilled(self, dependency: str) -> str:
        """The part of the dependency that is still unfulfilled, as squeue shows it."""
        separator, left = self._left(dependency)
        return separator.join(f"{term}({'unfulfilled' if self._term(term) is None else 'failed'})" for term in left)

    def _left(self, dependency: str) -> tuple[str, list[str]]:
        """The separator, and the terms that are not fulfilled."""
        separator = "?" if "?" in dependency else ","
        terms = dict.fromkeys(filter(None, dependency.split(separator)))
        left = [term for term in terms if self._term(term) is not True]
        return separator, [] if separator == "?" and len(left) < len(terms) else left

    def _scancel(self, arguments: Sequence[str]) -> CommandResult:
        for word in arguments:
            number, _, task = word.partition("_")
            job = self.jobs.get(int(number)) if number.isdigit() else None
            if job and job.tasks is not None and task:
                job.tasks.discard(int(task))
            if job and job.is_live and not (job.tasks and task):
                job.state, job.by_client = "CANCELLED by 0", True
        return CommandResult(0)

    def _scontrol(self, arguments: Sequence[str]) -> CommandResult:
        if arguments[0] in ("release", "uhold"):
            named = [
                (self.jobs.get(int(word.partition("_")[0])), word.partition("_")[2]) for word in arguments[1].split(",")
            ]
            for job, task in named:
                if job is not None and job.is_live:
                    job.hold(task, held=arguments[0] == "uhold")
                if job is not None and job.is_live and arguments[0] == "release":
                    job.released, job.reason = True, ""
            is_done = all(job and job.is_live for job, _ in named)
            return CommandResult(0 if is_done else 1, "", "" if is_done else "Invalid job id\n")
        words = dict(word.split("=", 1) for word in arguments[1:])
        job = self.jobs.get(int(words["JobId"]))
        if any(int(parse_job_ids(number).id) not in self.jobs for number in waited_ids(words["Dependency"])):
            return CommandResult(1, "", "Job dependency problem\n")
        if job is None or job.state != "PENDING":
            return CommandResult(1, "", "Job is no longer pending execution\n")
        job.dependency = words["Dependency"]
        return CommandResult(0)

    def schedule(self) -> list[FakeJob]:
        """One pass: cancel what can never run, start what can; returns the jobs started."""
        self._cancel_impossible()
        waiting = [job for job in self.live() if job.state == "PENDING" and job.visible and not job.held]
        started = [job for job in waiting if self._may_start(job.dependency)]
        doubled = [job for job in started if job.id in self.launched]
        for job in doubled:
            job.held, job.reason = True, "launch failed requeued held"
        started = [job for job in started if job not in doubled]
        for job in started:
            job.state = "RUNNING"
        self.launched = (self.launched | {job.id for job in started}) - {job.id for job in doubled}
        return started

    def _cancel_impossible(self) -> None:
        """Remove what can never run, together with what waits for it."""
        doomed: list[FakeJob] | None = None
        while doomed != []:
            waiting = [job for job in self.live() if job.state == "PENDING"]
            doomed = [job for job in waiting if self._may_start(job.dependency) is False]
            for job in doomed:
                job.state = "CANCELLED by 0"

    def is_cut_off(self, job: FakeJob) -> bool:
        """Whether it can never start, because a client has cancelled what it waits for."""
        waited = [self.jobs.get(int(parse_job_ids(number).id)) for number in waited_ids(job.dependency)]
        cancelled = any(other is not None and other.by_client for other in waited)
        return job.state == "PENDING" and cancelled and self._may_start(job.dependency) is False

    def _may_start(self, dependency: str) -> bool | None:
        """True, False for never, None for not yet. A dependency on a forgotten job is lifted, as in 22.05."""
        if not dependency:
            return True
        verdicts = [self._term(term) for term in re.split("[,?]", dependency)]
        if "?" in dependency:
            return True if True in verdicts else None if None in verdicts else False
        return False if False in verdicts else None if None in verdicts else True

    def _term(self, term: str) -> bool | None:
        kind, _, text = term.partition(":")
        job = self.jobs.get(int(parse_job_ids(text).id))
        if job is None:
            return True
        if job.is_live:
            return None
        return {"afterok": job.state == "COMPLETED", "afternotok": job.state != "COMPLETED", "afterany": True}[kind]

    def lose_last(self, count: int) -> Iterator[FakeJob]:
        """A controller killed right after accepting these jobs: it forgets them and gives their ids out again.

        What waited for them waits no longer, also not for a later job with the same id.
        """
        for job in sorted(self.live(), key=lambda job: -job.id)[:count]:
            if job.id == self.next_id - 1:
                del self.jobs[job.id]
                self.next_id = job.id
                yield job
        for job in self.live():
            separator, left = self._left(job.dependency)
            job.dependency = separator.join(left)

    def forget_releases(self, count: int) -> None:
        """A controller killed right after releasing these jobs: it restores them as sent, whatever happened to them."""
        released = sorted((job for job in self.jobs.values() if job.released), key=lambda job: -job.id)
        for job in released[:count]:
            job.state, job.held, job.released, job.reason, job.by_client = "PENDING", True, False, "", False

    def purge(self) -> None:
        """Forget ended jobs, as after MinJobAge; their dependents have seen the end by then."""
        self._cancel_impossible()
        self.jobs = {number: job for number, job in self.jobs.items() if job.is_live}


def table(fields: dict[str, str], lines: Sequence[dict[str, str]]) -> str:
    rows = [list(fields), *([line.get(name, "") for name in fields] for line in lines)]
    return "".join(f"{SEPARATOR.join(row)}\n" for row in rows)


P = ParamSpec("P")
R = TypeVar("R")


class Killed(BaseException):
    """The submitting process is killed between two instructions."""


@dataclass(slots=True)
class Fuse:
    """Kills the n-th time that something leaves the process, just before or right after it does."""

    left: int | None = None
    after: bool = False

    def guard(self, act: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        if self.left is not None:
            self.left -= 1
            if self.left < 0 and not self.after:
                raise Killed
        result = act(*arguments, **options)
        if self.left is not None and self.left < 0:
            raise Killed
        return result


@dataclass(slots=True)
class MemoryLedger:
    """Events that survive the kill of their writer."""

    fuse: Fuse = field(default_factory=Fuse)
    written: list[JobEvent] = field(default_factory=list)

    def append(self, event: JobEvent) -> None:
        self.fuse.guard(self.written.append, event)

    def events(self) -> Iterable[JobEvent]:
        return list(self.written)
