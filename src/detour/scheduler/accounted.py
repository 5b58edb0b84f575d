"""Which runs of our jobs have no accounts in the ledger yet, and what sacct reports about them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detour.ledger.events import JobAccounted
from detour.ledger.state import AttemptState, State, run_key
from detour.sacct.rows import JobRow
from detour.sacct.slices import boards_of, holds_slices
from detour.scheduler.job_ids import JobIds, parse_job_ids
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.tags import Tag, find_tag

RUNS_AGAIN = frozenset({"PREEMPTED", "REQUEUED", "NODE_FAIL", "BOOT_FAIL"})
"""Final states after which Slurm may run the job again."""
SOURCE = "sacct"


@dataclass(frozen=True, slots=True)
class Accounted:
    job: str
    """As in its attempts: `7` or `7_3`."""
    event: JobAccounted


def to_ask(state: State, sent: Iterable[Sent]) -> list[Sent]:
    """Jobs with a run that may have ended and is not in the ledger; cancelled ones only if they had started."""
    return [
        job
        for job in sent
        if job.job_id is not None
        and job.committed
        and (not job.dropped or any(_attempts(state, names, stages) for names, stages in _tasks(job)))
        and not all(_is_settled(state, names, stages) for names, stages in _tasks(job))
    ]


def _tasks(job: Sent) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """For the job or each of its tasks: the names that attempts may use for it, and its stages."""
    if len(job.tasks) <= 1:
        yield (f"{job.job_id}", f"{job.job_id}_0"), job.stages
    else:
        yield from (((f"{job.job_id}_{index}",), task) for index, task in enumerate(job.tasks))


def _is_settled(state: State, names: tuple[str, ...], stages: Collection[str]) -> bool:
    """Whether there is nothing more to learn: its last run and all its attempts are accounted for.

    Another cluster may have used its id, for other stages.
    """
    attempts = _attempts(state, names, stages)
    runs = [entry.event for name in names for entry in state.accounts.get(name, {}).values()]
    runs = [run for run in runs if not run.stages or not {*stages}.isdisjoint(run.stages)]
    if not runs or any(attempt.held is None for attempt in attempts):
        return False
    last = max(runs, key=lambda run: run.start_s or 0.0)
    return last.state not in RUNS_AGAIN


def _attempts(state: State, names: tuple[str, ...], stages: Collection[str]) -> list[AttemptState]:
    return [attempt for name in names for stage, attempt in state.jobs.get(name, ()) if stage in stages]


def accounted(
    rows: Iterable[JobRow], state: State, sent: Mapping[Tag, Sent], asked: Iterable[Sent], since_s: float
) -> Iterator[Accounted]:
    """Our runs that have ended and that the ledger does not hold in this form yet.

    An id proves nothing: a row is ours by its tag. If a site rewrites names and comments, the id of one of the jobs
    that its cluster was asked about decides, provided that it was submitted after our first submission.
    """
    by_id = {job.job_id: job for job in asked}
    for row in rows:
        tag = find_tag(row.comment or "", row.name or "")
        job = sent.get(tag) if tag else by_id.get(str(row.array_job_id or row.job_id))
        if job is None or row.end_s is None or (tag is None and (row.submit_s or 0.0) < since_s):
            continue
        for name, index in _jobs_of(parse_job_ids(row.shown_id)):
            event = _event(row, name, job.tasks[index] if index < len(job.tasks) else job.stages, state)
            known = state.accounts.get(name, {}).get(run_key(event))
            if known is None or known.event != event:
                yield Accounted(name, event)


def _jobs_of(ids: JobIds) -> Iterator[tuple[str, int]]:
    if not ids.indices:
        yield ids.id, 0
    for indices in ids.indices:
        yield from ((f"{ids.id}_{index}", index) for index in indices)


def _event(row: JobRow, name: str, stages: Sequence[str], state: State) -> JobAccounted:
    sliced, boards = holds_slices(row), boards_of(row)
    attempts = [one for stage in stages if stage in state.stages for one in state.stages[stage].attempts]
    clusters = (one.cluster for one in sorted(attempts, key=lambda one: one.job != name))
    beside: dict[str, Any] = {"boards": boards} if sliced else {}
    if row.start_s is not None and row.end_s is not None and row.end_s - row.start_s > (row.elapsed_s or 0.0):
        beside["end_s"] = row.end_s
    return JobAccounted(
        source=SOURCE,
        submit_s=row.submit_s,
        start_s=row.start_s,
        elapsed_s=row.elapsed_s,
        state=row.state,
        gpus=None if sliced and boards is None else row.n_gpus,
        cpus=row.n_cpus,
        nodes=row.n_nodes,
        cluster=row.cluster,
        job_id=row.job_id,
        billing=row.billing,
        energy_j=row.consumed_energy_j,
        profile=next(filter(None, clusters), None),
        stages=list(stages),
        **beside,
    )
