"""A stage's row, computed from its state in the ledger. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from detour.accounting.hours import AttemptUsage, gpu_hours
from detour.ledger.state import AttemptState, StageState, StageStatus
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.liveness import StatusEvidence
from detour.monitoring.segments import AttemptKey, in_order, segment_rows
from detour.monitoring.states import judge
from detour.monitoring.status import AttemptRow, SegmentRow, StageRow
from detour.planning.files import StageOutline
from detour.sums import known_sum


class Context(NamedTuple):
    """What a row needs in addition to the stage's own events."""

    chains: tuple[str, ...] = ()
    """The chains that need the stage."""
    inputs_ready_s: float | None = None
    """When the last of its inputs was done; None if one is not."""
    expected_s: float | None = None
    """Its duration as priced."""
    usages: Mapping[AttemptKey, AttemptUsage] = MappingProxyType({})
    """What its runs held."""
    with_segments: bool = True


def stage_row(
    planned: StageOutline,
    known: StageState,
    current: StageState,
    status: StageStatus,
    marker_text: str | None,
    evidence: StatusEvidence,
    context: Context,
) -> StageRow:
    """The row without its energy. `current` is the part of `known` that counts now; `marker_text` as in `judge`."""
    attempts = known.attempts
    reached = [attempt for attempt in current.attempts if attempt.progress]
    latest = reached[-1].progress if reached else None
    progress = latest.event if latest else None
    done, total = (progress.done, progress.total) if progress else (None, None)
    rate_per_s = _rate_per_s(reached[-1], status) if reached else None
    judged = judge(planned.kind, current, status, marker_text, evidence)
    left = max(total - done, 0) if done is not None and total is not None else None
    eta_s = left / rate_per_s if status == "running" and left is not None and rate_per_s else None
    jobs = in_order(known.all_jobs)
    segments: tuple[SegmentRow, ...] = ()
    if context.with_segments:
        segments = segment_rows(known, jobs, context.usages, judged, evidence, context.inputs_ready_s)
    seen_s = [evidence.last_seen_s(attempt) or 0.0 for attempt in attempts]
    return StageRow(
        id=planned.id,
        name=planned.name,
        seed=planned.seed,
        kind=planned.kind,
        status=status,
        state=judged.state,
        reason=judged.why,
        reason_job=judged.job,
        needs_person=judged.needs,
        next_step=judged.next_step,
        inputs=tuple(planned.inputs.values()),
        blocked_by=None,
        chains=context.chains,
        done=done,
        total=total,
        unit=progress.unit if progress else None,
        progress_s=_progress_s(reached[-1], evidence) if reached else None,
        seen_s=max(seen_s) if seen_s else None,
        rate_per_s=rate_per_s,
        mfu=progress.figures.get("mfu") if progress else None,
        eta_s=eta_s,
        expected_s=context.expected_s,
        left_s=_left_s(status, left, total, rate_per_s, context.expected_s),
        starts_s=_starts_s(jobs, evidence) if status == "submitted" else None,
        figures=progress.figures if progress else {},
        attempts=len(attempts),
        jobs=tuple(jobs),
        segments=segments,
        elapsed_s=_elapsed_s(attempts, status, evidence),
        gpu_hours=known_sum(map(gpu_hours, context.usages.values())),
        unknown_gpus=sum(one.gpus is None for one in context.usages.values()),
        by_journal=len([one for one in context.usages.values() if one.source == "journal" and not one.running]),
        facility_energy_kwh=None,
        co2_g=None,
        energy_method=None,
        energy_site=None,
    )


def with_energy(
    row: StageRow, energy: EnergyTotal | None, of_attempts: Mapping[AttemptKey, EnergyTotal | None]
) -> StageRow:
    """The row with its energy."""
    if energy is None:
        return row
    segments = (
        segment._replace(
            attempts=tuple(
                _attempt_with(one, of_attempts.get((one.number, segment.job or segment.process)))
                for one in segment.attempts
            )
        )
        for segment in row.segments
    )
    return row._replace(
        segments=tuple(segments),
        facility_energy_kwh=energy.facility_energy_kwh,
        co2_g=energy.co2_g,
        energy_method=energy.method,
        energy_site=energy.site,
    )


def with_causes(rows: Sequence[StageRow]) -> list[StageRow]:
    """A chain's rows, in plan order: those that wait for a failed stage say so, and only that stage has the advice."""
    found: dict[str, StageRow] = {}
    for row in rows:
        inputs = [found[stage] for stage in row.inputs if stage in found]
        cause = next((one.id if one.status == "failed" else one.blocked_by for one in inputs if _blocks(one)), None)
        if cause is not None and row.status in ("planned", "submitted", "cancelled") and not row.needs_person:
            why = f"not run: {found[cause].label} failed"
            row = row._replace(blocked_by=cause, reason=why, reason_job=None, next_step=None)
        found[row.id] = row
    return [found[row.id] for row in rows]


def _blocks(row: StageRow) -> bool:
    return row.status == "failed" or row.blocked_by is not None


def _attempt_with(row: AttemptRow, energy: EnergyTotal | None) -> AttemptRow:
    return row if energy is None else row._replace(facility_energy_kwh=energy.facility_energy_kwh, co2_g=energy.co2_g)


def _left_s(
    status: StageStatus, left: int | None, total: int | None, rate_per_s: float | None, expected_s: float | None
) -> float | None:
    """Time left: at the stage's rate, otherwise the share of its price that is left."""
    if status == "done":
        return 0.0
    if left is not None and rate_per_s:
        return left / rate_per_s
    return expected_s * left / total if expected_s is not None and left is not None and total else expected_s


def _starts_s(jobs: Iterable[str], evidence: StatusEvidence) -> float | None:
    seen = (evidence.jobs[job].starts_s for job in jobs if job in evidence.jobs)
    return min((at_s for at_s in seen if at_s), default=None)


def _rate_per_s(last: AttemptState, status: StageStatus) -> float | None:
    """The rate of the last attempt that reported progress."""
    if last.progress is None:
        return None
    latest = last.progress.event
    reported = latest.figures.get("tokens_per_s") if latest.unit == "tokens" else None
    if status == "running" and reported:
        return reported
    return _mean_rate_per_s(last) or reported


def _mean_rate_per_s(attempt: AttemptState) -> float | None:
    """Mean rate over the attempt's progress, by its writer's clock; None for a single report or a change of unit."""
    first, last = attempt.first_progress, attempt.progress
    if first is None or last is None or first.writer != last.writer or first.event.unit != last.event.unit:
        return None
    elapsed_s = last.mono_s - first.mono_s
    return (last.event.done - first.event.done) / elapsed_s if elapsed_s > 0 else None


def _progress_s(attempt: AttemptState, evidence: StatusEvidence) -> float | None:
    """When it last reported progress, corrected as its last sign of life is."""
    seen_s, stated_s = evidence.last_seen_s(attempt), attempt.last_seen_s
    return None if attempt.progress is None else attempt.progress.wall_s + (seen_s or 0.0) - (stated_s or 0.0)


def _elapsed_s(attempts: Sequence[AttemptState], status: StageStatus, evidence: StatusEvidence) -> float | None:
    parts = [elapsed_s for attempt in attempts if (elapsed_s := attempt.elapsed_s) is not None]
    if not parts:
        return None
    last_seen_s = evidence.last_seen_s(attempts[-1]) if status == "running" else None
    return sum(parts) + (0.0 if last_seen_s is None else max(evidence.now_s - last_seen_s, 0.0))
