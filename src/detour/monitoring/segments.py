"""A stage's jobs and their attempts as rows: the outcome of each, and what it waited for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from detour.accounting.hours import AttemptUsage, gpu_hours
from detour.grouping import grouped
from detour.ledger.state import AttemptState, StageState
from detour.monitoring.liveness import StatusEvidence
from detour.monitoring.queries import SeenJob
from detour.monitoring.reasons import wait_of
from detour.monitoring.states import Judged, StateWord, end_of
from detour.monitoring.status import AttemptRow, SegmentRow
from detour.text import natural_key

AttemptKey = tuple[int, str | None]
"""Number, and job or process."""


def key_of(attempt: AttemptState) -> AttemptKey:
    return attempt.number, attempt.job or attempt.process


def segment_rows(
    known: StageState,
    jobs: Sequence[str],
    usages: Mapping[AttemptKey, AttemptUsage],
    judged: Judged,
    evidence: StatusEvidence,
    inputs_ready_s: float | None,
) -> tuple[SegmentRow, ...]:
    """One row per job, in the order of their ids, after the attempts without one (a shell, then `detour run`).

    `jobs` are all of the stage's in Slurm, `usages` what its runs held. `inputs_ready_s` is when the last of the
    stage's inputs was done; None if one is not.
    """
    runs = grouped((attempt.executor, attempt) for attempt in known.runs)
    processes = {executor: of_one[0].process for executor, of_one in runs.items() if of_one[0].process is not None}
    last = known.last_attempt
    found, ready_s = [], inputs_ready_s
    for executor in (*([None] if None in runs else []), *processes, *jobs):
        of_one = runs.get(executor, [])
        rows = tuple(
            _attempt_row(attempt, usages.get(key_of(attempt)), attempt is last, judged, evidence) for attempt in of_one
        )
        process = processes.get(executor)
        job = executor if process is None else None
        found.append(_segment_row(known, job, process, rows, evidence, ready_s))
        if of_one and of_one[-1].last_seen_s is not None:
            ready_s = of_one[-1].last_seen_s
    return tuple(found)


def in_order(jobs: Collection[str]) -> list[str]:
    """Sorted by number."""
    return sorted(jobs, key=natural_key) if len(jobs) > 1 else list(jobs)


def _segment_row(
    known: StageState,
    job: str | None,
    process: str | None,
    attempts: Sequence[AttemptRow],
    evidence: StatusEvidence,
    ready_s: float | None,
) -> SegmentRow:
    seen = evidence.jobs.get(job or "")
    submitted_s = known.submitted_s.get(job or "")
    started_s = attempts[0].started_s if attempts else seen.started_s if seen else None
    eligible_s = _eligible_s(submitted_s, ready_s, started_s, seen)
    waits = seen is not None and seen.standing == "waiting"
    until_s = started_s if started_s is not None else evidence.now_s if waits else None
    return SegmentRow(
        job=job,
        process=process,
        seen=seen,
        submitted_s=submitted_s,
        eligible_s=eligible_s,
        started_s=started_s,
        starts_s=seen.starts_s if seen else None,
        dependency_wait_s=_between(submitted_s, until_s if eligible_s is None else eligible_s),
        queue_wait_s=_between(eligible_s, until_s),
        attempts=tuple(attempts),
    )


def _eligible_s(
    submitted_s: float | None, ready_s: float | None, started_s: float | None, seen: SeenJob | None
) -> float | None:
    """When the job was submitted and everything before it was done, so it waited only for its turn.

    None if that is not yet so, or unknown.
    """
    if submitted_s is None or ready_s is None:
        return None
    if started_s is None and seen is not None and wait_of(seen.reason, seen.is_held) == "eligible":
        return None
    eligible_s = max(submitted_s, ready_s)
    return eligible_s if started_s is None else min(eligible_s, started_s)


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else max(end_s - start_s, 0.0)


def _attempt_row(
    attempt: AttemptState, usage: AttemptUsage | None, is_last: bool, judged: Judged, evidence: StatusEvidence
) -> AttemptRow:
    progress = attempt.progress.event if attempt.progress else None
    started = attempt.started.event if attempt.started else None
    return AttemptRow(
        number=attempt.number,
        state=_word(attempt, is_last, judged, evidence),
        node=started.node if started else None,
        gpus=usage.gpus if usage else None,
        started_s=usage.start_s if usage else None,
        ended_s=attempt.ended.wall_s if attempt.ended else None,
        seen_s=evidence.last_seen_s(attempt),
        allocated_s=usage.allocated_s if usage else None,
        done=progress.done if progress else None,
        total=progress.total if progress else None,
        unit=progress.unit if progress else None,
        saved_tokens=attempt.checkpoint.event.tokens if attempt.checkpoint else None,
        exit_code=attempt.exit_code,
        reason=attempt.reason,
        gpu_hours=gpu_hours(usage) if usage else None,
        facility_energy_kwh=None,
        co2_g=None,
    )


def _word(attempt: AttemptState, is_last: bool, judged: Judged, evidence: StatusEvidence) -> StateWord:
    if attempt.outcome == "done":
        return "done"
    if attempt.outcome == "failed" or evidence.was_killed_by_failure(attempt):
        return "failed"
    if is_last and judged.state in ("running", "lost contact", "unknown") and attempt.ended is None:
        return judged.state
    return end_of(attempt, evidence) or "interrupted"
