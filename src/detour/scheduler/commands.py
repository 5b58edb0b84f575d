"""The only module that talks to Slurm: every client program runs here, through one injected runner.

An empty, late or failed answer decides nothing: it becomes `SchedulerUnavailable`, or a `SubmitAnswer` that says so.
Callers decide what an answer means.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from detour.errors import SchedulerUnavailable
from detour.scheduler.answers import QUEUE_IS_FULL, CommandResult, SubmitAnswer, read_submission
from detour.scheduler.client_environment import client_environment
from detour.scheduler.slow_clients import on_slow

TIMEOUT_S = 60.0
"""Seconds before a client is stopped. Clients report a controller that is down after up to 38 s."""
MAX_IDS_PER_CALL = 1000
LATE_S = 2.0
"""Seconds the queue is given to show a job after sbatch gave no answer, or the effect of an order."""
LISTEN_S = 1.0
"""Seconds between checks on a running client: whether it has ended or reports that the queue is full."""
SEPARATOR = "\x1f"
"""Separates fields; unlike `|`, it does not occur in job names."""
QUEUE_FIELDS = {
    "job": "%i",
    "state": "%T",
    "submitted": "%V",
    "started": "%S",
    "ended": "%e",
    "partition": "%P",
    "nodes": "%N",
    "reason": "%r",
    "priority": "%Q",
    "dependency": "%E",
    "user": "%u",
    "qos": "%q",
    "name": "%j",
    "comment": "%k",
    "script": "%o",
}
"""Free text comes last, so that even a separator in it does not shift other fields."""
ACCOUNTING_FIELDS = {
    "job": "JobID",
    "raw_id": "JobIDRaw",
    "state": "State",
    "exit": "ExitCode",
    "submitted": "Submit",
    "started": "Start",
    "ended": "End",
    "elapsed": "ElapsedRaw",
    "partition": "Partition",
    "nodes": "NodeList",
    "allocated": "AllocTRES",
    "requested": "ReqTRES",
    "cpus": "NCPUS",
    "n_nodes": "NNodes",
    "cluster": "Cluster",
    "energy": "ConsumedEnergyRaw",
    "user": "User",
    "comment": "Comment",
    "name": "JobName",
}
REPORT_FIELDS = (
    *("JobID", "JobIDRaw", "State", "ExitCode", "DerivedExitCode", "Reason", "NodeList", "Partition", "QOS"),
    *("Submit", "Eligible", "Start", "End", "Elapsed", "Timelimit", "ReqMem", "MaxRSS", "AllocTRES"),
)
"""What a diagnosis reads about a job and its steps; no names or comments, which are free text."""
USAGE_FIELDS = (
    *("JobID", "JobIDRaw", "Cluster", "User", "Account", "Partition", "QOS", "State", "ExitCode", "Submit", "Eligible"),
    *("Start", "End", "ElapsedRaw", "TimelimitRaw", "NNodes", "NCPUS", "AllocTRES", "ReqTRES", "NodeList", "JobName"),
)

_CLUSTER_LINE = re.compile(r"\ACLUSTER: .*\n")
"""Printed before the answers of squeue and sinfo if a cluster is named."""
_CLOCK = re.compile(r"^Configuration data as of (\S+)", re.MULTILINE)


class Runner(Protocol):
    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        """Run to the end or the time limit. Raises nothing if the program fails or is missing."""


@dataclass(frozen=True, slots=True)
class SubprocessRunner:
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the process's own environment; a client receives what `client_environment` leaves."""

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        environment = client_environment({**os.environ, **self.environment}, command[0])
        try:
            with subprocess.Popen(
                list(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:
                return _result(process, command[0], timeout_s)
        except FileNotFoundError:
            return CommandResult(127, "", f"{command[0]} is not on the path: is this a login node of the cluster?")
        except PermissionError:
            return CommandResult(126, "", f"permission denied: {command[0]} may not be run here")
        except OSError as error:  # such as a limit on processes, which login nodes often have
            return CommandResult(126, "", f"{command[0]} cannot be started: {error.strerror}")


def _result(process: subprocess.Popen[bytes], client: str, timeout_s: float) -> CommandResult:
    """The result of a client that ended by itself, or that was killed at its time limit or because of a full queue."""
    end_s, is_slow = time.monotonic() + timeout_s, False
    with ExitStack() as stack:
        while True:
            try:
                out, said = process.communicate(timeout=max(0.0, min(LISTEN_S, end_s - time.monotonic())))
                return CommandResult(process.returncode, out.decode(errors="replace"), said.decode(errors="replace"))
            except subprocess.TimeoutExpired as waiting:
                is_full = QUEUE_IS_FULL.search((waiting.stderr or b"").decode(errors="replace"))
                if is_full or time.monotonic() >= end_s:
                    process.kill()
                    return CommandResult(None, *_rest(process))
                if not is_slow:
                    is_slow = True
                    stack.enter_context(on_slow.get()(client, end_s - time.monotonic()))
            except BaseException:
                process.kill()
                raise


def _rest(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """The output of a killed client. A child of a site's wrapper may hold the pipes open much longer."""
    try:
        out, said = process.communicate(timeout=LISTEN_S)
    except subprocess.TimeoutExpired as held:
        out, said = held.stdout or b"", held.stderr or b""
    return out.decode(errors="replace"), said.decode(errors="replace")


def _of(users: Sequence[str]) -> str:
    return f"--user={','.join(users)}"


def _time(at_s: float) -> str:
    """A time in sacct's format and this machine's time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(max(0.0, at_s)))


@dataclass(slots=True)
class Slurm:
    """Slurm's clients as functions. `calls` counts the calls of each client."""

    run: Runner = field(default_factory=SubprocessRunner)
    calls: Counter[str] = field(default_factory=Counter)
    timeout_s: float = TIMEOUT_S
    cluster: str | None = None
    """One of several clusters of a site, as in a profile's `slurm_cluster`; None for the local one."""

    def on(self, cluster: str | None) -> Slurm:
        """The same clients for another of the site's clusters; calls are counted together."""
        return replace(self, cluster=cluster)

    def named(self, client: str) -> str:
        """A client as people call it: `sacct`, or `sacct of CLUSTER` for one of several clusters."""
        return client if self.cluster is None else f"{client} of {self.cluster}"

    def ask(self, client: str, *arguments: str) -> CommandResult:
        self.calls[client] += 1
        if self.cluster is None or client == "sacctmgr":
            return self.run((client, *arguments), self.timeout_s)
        result = self.run((client, f"--clusters={self.cluster}", *arguments), self.timeout_s)
        return replace(result, stdout=_CLUSTER_LINE.sub("", result.stdout))

    def submit(self, script: Path) -> SubmitAnswer:
        return read_submission(self.ask("sbatch", "--parsable", str(script)))

    def queue(self, users: Sequence[str]) -> CommandResult:
        """All live jobs of these users, in any partition; finished jobs are not requested.

        Each task of an array has its own line: tasks folded into one have one reason and priority, held or not.
        The header line distinguishes an empty queue from an empty answer.
        """
        shown = SEPARATOR.join(QUEUE_FIELDS.values())
        return self.ask("squeue", "--all", "--array", _of(users), f"--format={shown}")

    def accounting(self, since_s: float, users: Sequence[str], job_ids: Sequence[str]) -> CommandResult:
        """Every run of these jobs since `since_s` (epoch seconds), each requeue on its own row; with header.

        Requested by id as long as the ids fit a command line, otherwise all jobs of the users: Slurm 22.05 finds a job
        that way only some seconds after it finds it by id.
        """
        asked = ("--allusers", f"--jobs={','.join(job_ids)}") if len(job_ids) <= MAX_IDS_PER_CALL else (_of(users),)
        return self._sacct(ACCOUNTING_FIELDS.values(), "--allocations", *asked, f"--starttime={_time(since_s)}")

    def usage(self, since_s: float, until_s: float, users: Sequence[str], *, everyone: bool) -> CommandResult:
        """Every run of every job that ran or ended in a period (epoch seconds), with the header."""
        whose = ("--allusers",) if everyone else (_of(users),) if users else ()
        period = f"--starttime={_time(since_s)}", f"--endtime={_time(until_s)}"
        return self._sacct(USAGE_FIELDS, "--allocations", *whose, *period)

    def job_report(self, job_ids: Sequence[str], since_s: float) -> CommandResult:
        """These jobs with their steps, every run, in the columns of REPORT_FIELDS; with the header."""
        return self._sacct(REPORT_FIELDS, "--allusers", f"--jobs={','.join(job_ids)}", f"--starttime={_time(since_s)}")

    def test_only(self, script: Path, options: Sequence[str]) -> CommandResult:
        """When this script's job would start with these options in place of its own; nothing is submitted."""
        return self.ask("sbatch", "--test-only", *options, str(script))

    def accounting_service(self, user: str) -> CommandResult:
        """The shortest question to sacct, to check that it serves this user; with the header."""
        return self.ask("sacct", "--parsable2", "--allocations", f"--user={user}", "--starttime=now", "--format=jobid")

    def release(self, ids: Sequence[str]) -> CommandResult:
        return self._in_parts(ids, lambda some: self.ask("scontrol", "release", ",".join(some)))

    def hold(self, ids: Sequence[str]) -> CommandResult:
        """As the user, also if root or an operator asks: `scontrol hold` would then hold as an administrator."""
        return self._in_parts(ids, lambda some: self.ask("scontrol", "uhold", ",".join(some)))

    def change_dependency(self, job_id: str, dependency: str) -> CommandResult:
        """Only pending jobs can be changed; an empty `dependency` removes it."""
        return self.ask("scontrol", "update", f"JobId={job_id}", f"Dependency={dependency}")

    def cancel(self, ids: Sequence[str]) -> CommandResult:
        """Jobs that have ended meanwhile are not an error."""
        return self._in_parts(ids, lambda some: self.ask("scancel", "--quiet", *some))

    def configuration(self) -> dict[str, str]:
        """`scontrol show config` as a dict; `AsOf` is the controller's clock. Raises SchedulerUnavailable."""
        text = self._text("scontrol", "show", "config")
        pairs = (line.partition("=") for line in text.splitlines())
        found = {key.strip(): value.strip() for key, separator, value in pairs if separator}
        return found | ({"AsOf": clock[1]} if (clock := _CLOCK.search(text)) else {})

    def partitions(self) -> str:
        """`scontrol show partition`, one line each. Raises SchedulerUnavailable."""
        return self._text("scontrol", "--oneliner", "show", "partition")

    def nodes(self) -> str:
        """`partition|nodes|CPUs per node|gres|features`, one line per kind of node. Raises SchedulerUnavailable."""
        return self._text("sinfo", "--noheader", "--all", "--format=%R|%D|%c|%G|%f")

    def node_use(self) -> str:
        """`partition|state|gres|gres in use|CPUs allocated/idle/other/total`, one line per node of each partition.

        Raises SchedulerUnavailable.
        """
        fields = ",".join(f"{name}:|" for name in ("Partition", "StateCompact", "Gres", "GresUsed", "CPUsState"))
        return self._text("sinfo", "--noheader", "--all", "--Node", f"--Format={fields}")

    def running(self, job_id: str) -> str | None:
        """The job's own number, which an array's task has too, while it runs; otherwise None.

        Raises SchedulerUnavailable.
        """
        result = self.ask("squeue", "--noheader", f"--jobs={job_id}", "--states=RUNNING", "--format=%A")
        if result.returncode != 0 and "Invalid job id" not in result.message:
            raise SchedulerUnavailable(f"squeue failed ({result.message})")
        return next(iter(result.stdout.split()), None)

    def associations(self, user: str, cluster: str) -> str:
        """`account|qos,qos,...` lines. Raises SchedulerUnavailable, also if there is no accounting."""
        wanted = (f"user={user}", f"cluster={cluster}", "format=account,qos")
        return self._text("sacctmgr", "--noheader", "--parsable2", "show", "assoc", *wanted)

    def qualities(self) -> str:
        """`name|MaxWall|MaxSubmitPU|MaxTRESPU`, one line per QOS. Raises SchedulerUnavailable."""
        wanted = "format=name,maxwall,maxsubmitjobsperuser,maxtresperuser"
        return self._text("sacctmgr", "--noheader", "--parsable2", "show", "qos", wanted)

    def version(self) -> str:
        """Such as `22.05.8`. Raises SchedulerUnavailable."""
        return self._text("sinfo", "--version").split()[-1]

    def _in_parts(self, ids: Sequence[str], order: Callable[[Sequence[str]], CommandResult]) -> CommandResult:
        """Give an order about jobs in as many calls as command lines need; returns the first failure, if any."""
        firsts = range(0, len(ids), MAX_IDS_PER_CALL)
        results = [order(ids[first : first + MAX_IDS_PER_CALL]) for first in firsts]
        return next((result for result in results if result.returncode != 0), CommandResult(0))

    def _sacct(self, fields: Iterable[str], *options: str) -> CommandResult:
        """One row per run: each requeue has its own."""
        form = ("--parsable2", f"--delimiter={SEPARATOR}", "--duplicates", f"--format={','.join(fields)}")
        return self.ask("sacct", *form, *options)

    def _text(self, *command: str) -> str:
        result = self.ask(*command)
        if result.returncode != 0 or not result.stdout.strip():
            raise SchedulerUnavailable(f"`{' '.join(command)}` gave no usable answer: {result.message}")
        return result.stdout
