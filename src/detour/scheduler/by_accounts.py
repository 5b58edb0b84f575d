"""Which jobs sacct alone proves to be ours and alive, for cancelling while squeue does not answer. Pure.

A job id proves nothing, since ids are recycled: of the runs under an id, the last must carry the job's own tag, which
differs for every submission. A job that sacct does not show, or shows without our tag or with another one, is not
touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from detour.grouping import grouped
from detour.scheduler.accounted import RUNS_AGAIN
from detour.scheduler.records import JobRecord
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.states import JobState, Standing

NO_ID = "its submission was cut short before it recorded the id"
NO_RECORD = "sacct does not show it (yet)"
NO_TAG = "sacct shows it without our tag"
RECYCLED = "sacct shows another job under this id"


class Shown(NamedTuple):
    state: JobState
    stages: tuple[str, ...]


@dataclass(slots=True)
class ByAccounts:
    """Jobs by id, or array tasks such as `7_3`."""

    live: dict[str, Shown] = field(default_factory=dict)
    """Jobs that are ours and alive, or may be about to run again."""
    unproven: dict[str, str] = field(default_factory=dict)
    """Jobs left alone, and why; a job without an id is given by its slot."""
    theirs: list[Sent] = field(default_factory=list)
    """Live jobs of other users."""
    open_stages: set[str] = field(default_factory=set)
    """Stages that may still have a job."""


def by_accounts(
    sent: Iterable[Sent],
    stages: Collection[str],
    snapshot: Snapshot,
    user: str,
    is_done: Callable[[str], bool],
    ordered: Collection[str] = (),
) -> ByAccounts:
    """What `snapshot.accounting` shows about the jobs of these stages that were sent and not dropped.

    Records of jobs whose stages are done may have been purged. A job that was `ordered` to be cancelled does not run
    again after a preemption.
    """
    found, runs = ByAccounts(), grouped((record.ids.id, record) for record in snapshot.accounting or ())
    for one in sent:
        wanted = [(index, task) for index, task in enumerate(one.tasks) if not {*stages}.isdisjoint(task)]
        if one.dropped or not wanted:
            continue
        if one.job_id is None:
            found.unproven[str(one.slot)] = NO_ID
            found.open_stages.update(one.stages)
            continue
        for index, task in wanted:
            job = one.job_id if len(one.tasks) == 1 else f"{one.job_id}_{index}"
            last = _last_run(runs.get(one.job_id, ()), index)
            if last is None and all(map(is_done, task)):
                continue
            if last is None or last.tag != one.tag or _may_live(last.state, is_ordered=job in ordered):
                found.open_stages.update(task)
                _add(found, one, job, task, user, last)
    return found


def _add(found: ByAccounts, sent: Sent, job: str, task: tuple[str, ...], user: str, last: JobRecord | None) -> None:
    if last is None:
        found.unproven[job] = NO_RECORD
    elif last.tag != sent.tag:
        found.unproven[job] = RECYCLED if last.tag else NO_TAG
    elif last.user not in ("", user):
        found.theirs.append(replace(sent, job_id=job, owner=last.user))
    else:
        found.live[job] = Shown(last.state, task)


def _last_run(of_id: Iterable[JobRecord], index: int) -> JobRecord | None:
    runs = [run for run in of_id if not run.ids.indices or not run.ids.complete or run.ids.holds(index)]
    return sorted(runs, key=lambda run: run.submitted_s or 0.0)[-1] if runs else None


def _may_live(state: JobState, *, is_ordered: bool) -> bool:
    if state.value in RUNS_AGAIN:
        return not is_ordered
    return state.is_live or state.standing is Standing.UNKNOWN
