"""Jobs as printed by squeue and sacct of Slurm 20.02 and later: as text, because the JSON of some versions is wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from detour.scheduler.commands import ACCOUNTING_FIELDS, QUEUE_FIELDS, SEPARATOR
from detour.scheduler.dependency import is_blocked, waited_ids
from detour.scheduler.job_ids import JobIds, parse_job_ids
from detour.scheduler.states import JobState, Standing, parse_state
from detour.scheduler.tags import Tag, find_tag
from detour.times import is_instant

BY_A_PERSON = frozenset({"JobHeldUser", "JobHeldAdmin"})
"""Reasons of jobs held by a person or a submission."""
BY_SLURM = frozenset(
    {
        "launch failed requeued held",
        "launch failure limit exceeded requeued held",
        "job requeued in held state",
        "JobHoldMaxRequeue",
    }
)
"""Reasons of jobs that Slurm took back and holds, for example after a failed prolog."""
TAKEN_BACK = frozenset({JobState.REQUEUE_HOLD, JobState.SPECIAL_EXIT, JobState.RESV_DEL_HOLD})
"""States of jobs that Slurm took back, also after their release; while they are held, the reason may be anything."""
NO_QOS = frozenset({"(null)", "N/A"})
"""What squeue prints for a job without a QOS."""
_SCRIPT = re.compile(r"([A-Za-z0-9]+)\.sh$")
_STATE_OF_TERM = re.compile(r"\([^()]*\)")


class Unreadable(ValueError):
    """An answer without the lines it must have."""


def waits_for_release(state: JobState, priority: int | None, reason: str) -> bool:
    """Whether a job is pending and held: only held jobs have no priority."""
    held = priority == 0 or reason in BY_A_PERSON or reason in BY_SLURM
    return state.standing is Standing.WAITING and held


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One line of squeue or sacct. An array has several; in sacct, a requeued job has one per run."""

    ids: JobIds
    tag: Tag | None
    state: JobState
    user: str
    submitted_s: float | None
    started_s: float | None
    """For a pending job, when Slurm expects to start it."""
    ended_s: float | None
    nodes: str
    reason: str = ""
    """Why it is pending. Only from squeue, like all fields down to `script`."""
    priority: int | None = None
    dependency: str = ""
    """What it still waits for, such as `afterok:7,afterok:8_3`."""
    waits_in_vain: bool = False
    """Whether its dependency can no longer be fulfilled, so that Slurm will cancel it."""
    qos: str = ""
    """Empty if Slurm names none."""
    script: str = ""
    """The submission in the name of its batch script, which no site rewrites, unlike name and comment."""
    exit_code: int | None = None
    signal: int | None = None
    """The signal that ended it. Exit code and signal are known only from sacct."""

    @property
    def is_held(self) -> bool:
        """Whether it waits for a release, held by a user or by Slurm."""
        return waits_for_release(self.state, self.priority, self.reason)

    @property
    def by_slurm(self) -> str:
        """Why Slurm itself took it back and holds it; empty if it does not."""
        if not self.is_held:
            return ""
        return self.reason if self.reason in BY_SLURM else self.state.value if self.state in TAKEN_BACK else ""

    @property
    def is_ending(self) -> bool:
        """Whether it is leaving the queue, so no more orders are needed."""
        return self.state is JobState.COMPLETING

    @property
    def waits_for(self) -> frozenset[str]:
        """Ids of the jobs and array tasks in its dependency."""
        return waited_ids(self.dependency)


def read_queue(text: str) -> tuple[tuple[JobRecord, ...], int]:
    """Records in squeue's answer, and the number of unreadable lines. Raises Unreadable."""
    return _records(text, tuple(QUEUE_FIELDS), _queue_record)


def read_accounting(text: str) -> tuple[tuple[JobRecord, ...], int]:
    """Records in sacct's answer, and the number of unreadable lines. Raises Unreadable."""
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


def _common_record(field: Mapping[str, str]) -> JobRecord:
    """What squeue and sacct print alike."""
    return JobRecord(
        ids=parse_job_ids(field["job"]),
        tag=find_tag(field["comment"], field["name"]),
        state=parse_state(field["state"]),
        user=field["user"],
        submitted_s=parse_time_s(field["submitted"]),
        started_s=parse_time_s(field["started"]),
        ended_s=parse_time_s(field["ended"]),
        nodes=field["nodes"],
    )


def _queue_record(field: Mapping[str, str]) -> JobRecord:
    return replace(
        _common_record(field),
        reason=field["reason"],
        priority=int(field["priority"]) if field["priority"].isdecimal() else None,
        dependency=_dependency(field["dependency"]),
        waits_in_vain=_is_in_vain(field["dependency"]),
        qos="" if field["qos"] in NO_QOS else field["qos"],
        script=found[1] if (found := _SCRIPT.search(field["script"])) else "",
    )


def _accounting_record(field: Mapping[str, str]) -> JobRecord:
    code, _, number = field["exit"].partition(":")
    return replace(
        _common_record(field),
        nodes="" if field["nodes"] == "None assigned" else field["nodes"],
        exit_code=int(code) if code.isdecimal() else None,
        signal=int(number) if number.isdecimal() and number != "0" else None,
    )


def _dependency(text: str) -> str:
    """`afterok:7_*(unfulfilled)` -> `afterok:7`."""
    return "" if text == "(null)" else _STATE_OF_TERM.sub("", text).replace("_*", "")


def _is_in_vain(text: str) -> bool:
    """`afterok:7(unfulfilled),afterok:8(failed)`, but not `afterok:7(unfulfilled)?afterok:8(failed)`."""
    return is_blocked(text, lambda term: term.endswith("(failed)"))


def parse_time_s(text: str) -> float | None:
    """Seconds since the epoch, also from Slurm's local ISO form if a site's wrapper drops our setting; else None."""
    if text.isdecimal():
        seconds = float(text)
    else:
        try:
            seconds = time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
        except (ValueError, OverflowError):
            return None
    return seconds if seconds and is_instant(seconds) else None
