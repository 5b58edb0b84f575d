"""Jobs as squeue and sacct print them, for Slurm 20.02 and later: text, because the JSON of some versions is wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from detour.scheduler.commands import ACCOUNTING_FIELDS, QUEUE_FIELDS, SEPARATOR
from detour.scheduler.dependency import waited_ids
from detour.scheduler.job_ids import JobIds, parse_job_ids
from detour.scheduler.states import JobState, Standing, parse_state
from detour.scheduler.tags import Tag, find_tag
from detour.times import is_duration, is_instant

BY_A_PERSON = frozenset({"JobHeldUser", "JobHeldAdmin"})
"""Reasons of jobs that a person or a submission holds."""
BY_SLURM = frozenset(
    {
        "launch failed requeued held",
        "launch failure limit exceeded requeued held",
        "job requeued in held state",
        "JobHoldMaxRequeue",
    }
)
"""Of jobs that Slurm took back and holds, after a prolog that failed, say."""
TAKEN_BACK = frozenset({JobState.REQUEUE_HOLD, JobState.SPECIAL_EXIT, JobState.RESV_DEL_HOLD})
"""States of such jobs, also once they are released; while they are held, with whatever reason."""
_SCRIPT = re.compile(r"([A-Za-z0-9]+)\.sh$")
_STATE_OF_TERM = re.compile(r"\([^()]*\)")


class Unreadable(ValueError):
    """An answer without the lines it must have."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One line of squeue or sacct; several of them for an array, and in sacct one a run of a requeued job."""

    ids: JobIds
    tag: Tag | None
    state: JobState
    name: str
    user: str
    partition: str
    submitted_s: float | None
    started_s: float | None
    """While the job waits: when Slurm expects to start it."""
    ended_s: float | None
    nodes: str
    reason: str = ""
    """Why it waits; from squeue only, as all down to `script`."""
    priority: int | None = None
    dependency: str = ""
    """What it still waits for, as `afterok:7,afterok:8_3`."""
    script: str = ""
    """The submission in the name of its batch script: other than name and comment, no site rewrites that."""
    elapsed_s: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    """That ended it; exit code and signal are known from sacct only."""
    allocated: str = ""
    """AllocTRES, as `cpu=24,gres/gpu=4`; from sacct only."""
    raw_id: str = ""
    """The id of one array task's own, where sacct gives it."""

    @property
    def is_held(self) -> bool:
        """Whether it waits for a release, by a user's hold or Slurm's: nothing else has no priority."""
        held = self.priority == 0 or self.reason in BY_A_PERSON or self.reason in BY_SLURM
        return self.state.standing is Standing.WAITING and held

    @property
    def by_slurm(self) -> str:
        """Why Slurm itself has taken it back and holds it; empty where it does not."""
        if not self.is_held:
            return ""
        return self.reason if self.reason in BY_SLURM else self.state.value if self.state in TAKEN_BACK else ""

    @property
    def is_ending(self) -> bool:
        """On its way out of the queue: nothing more is to be ordered of it."""
        return self.state is JobState.COMPLETING

    @property
    def waits_for(self) -> frozenset[str]:
        """Ids of the jobs and array tasks in its dependency."""
        return waited_ids(self.dependency)


def read_queue(text: str) -> tuple[tuple[JobRecord, ...], int]:
    """Records of squeue's answer, and the number of lines that are none. Raises Unreadable."""
    return _records(text, tuple(QUEUE_FIELDS), _queue_record)


def read_accounting(text: str) -> tuple[tuple[JobRecord, ...], int]:
    """The same of sacct's."""
    return _records(text, tuple(ACCOUNTING_FIELDS), _accounting_record)


def _records(
    text: str, names: Sequence[str], record: Callable[[Mapping[str, str]], JobRecord]
) -> tuple[tuple[JobRecord, ...], int]:
    lines = text.split("\n")
    if lines[0].count(SEPARATOR) < len(names) - 1:
        raise Unreadable("its header is missing")
    if lines[-1]:
        raise Unreadable("it ends in the middle of a line")
    found, broken = [], 0
    for line in lines[1:-1]:
        try:
            found.append(record(dict(zip(names, line.split(SEPARATOR, len(names) - 1), strict=True))))
        except ValueError:
            broken += 1
    return tuple(found), broken


def _queue_record(field: Mapping[str, str]) -> JobRecord:
    return JobRecord(
        ids=parse_job_ids(field["job"]),
        tag=find_tag(field["comment"], field["name"]),
        state=parse_state(field["state"]),
        name=field["name"],
        user=field["user"],
        partition=field["partition"],
        submitted_s=parse_time_s(field["submitted"]),
        started_s=parse_time_s(field["started"]),
        ended_s=parse_time_s(field["ended"]),
        nodes=field["nodes"],
        reason=field["reason"],
        priority=int(field["priority"]) if field["priority"].isdecimal() else None,
        dependency=_dependency(field["dependency"]),
        script=found[1] if (found := _SCRIPT.search(field["script"])) else "",
        elapsed_s=parse_elapsed_s(field["elapsed"]),
    )


def _accounting_record(field: Mapping[str, str]) -> JobRecord:
    code, _, number = field["exit"].partition(":")
    return JobRecord(
        ids=parse_job_ids(field["job"]),
        tag=find_tag(field["comment"], field["name"]),
        state=parse_state(field["state"]),
        name=field["name"],
        user=field["user"],
        partition=field["partition"],
        submitted_s=parse_time_s(field["submitted"]),
        started_s=parse_time_s(field["started"]),
        ended_s=parse_time_s(field["ended"]),
        nodes="" if field["nodes"] == "None assigned" else field["nodes"],
        elapsed_s=_elapsed_s(field["elapsed"]),
        exit_code=int(code) if code.isdecimal() else None,
        signal=int(number) if number.isdecimal() and number != "0" else None,
        allocated=field["allocated"],
        raw_id=field["raw_id"],
    )


def _dependency(text: str) -> str:
    """`afterok:7_*(unfulfilled)` -> `afterok:7`."""
    return "" if text == "(null)" else _STATE_OF_TERM.sub("", text).replace("_*", "")


def parse_time_s(text: str) -> float | None:
    """Seconds since the epoch, or Slurm's local ISO form where a site's wrapper drops our setting; else unknown."""
    if text.isdecimal():
        seconds = float(text)
    else:
        try:
            seconds = time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
        except (ValueError, OverflowError):
            return None
    return seconds if seconds and is_instant(seconds) else None


def _elapsed_s(text: str) -> float | None:
    """ElapsedRaw: plain seconds."""
    return seconds if text.isdecimal() and is_duration(seconds := float(text)) else None


def parse_elapsed_s(text: str) -> float | None:
    """`1-02:03:04`, `02:03:04`, `3:04`."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in parts) or not (days.isdecimal() or not days) or len(parts) < 2:
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    seconds += int(days or 0) * 86_400
    return float(seconds) if is_duration(seconds) else None
