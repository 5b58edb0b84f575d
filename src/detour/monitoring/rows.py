"""A stage's row, out of what the ledger holds of it; pure functions."""

from __future__ import annotations

from detour.ledger.state import AttemptState, StageState, StageStatus
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.liveness import Evidence
from detour.monitoring.status import StageRow
from detour.planning.files import StageOutline
from detour.text import natural_key


def stage_row(
    planned: StageOutline,
    known: StageState | None,
    status: StageStatus,
    failure: str | None,
    evidence: Evidence,
) -> StageRow:
    """`failure` is what the failure marker says, if it has one. Without energy."""
    progress = known.progress if known else None
    done, total = (progress.done, progress.total) if progress else (None, None)
    rate_per_s = _rate_per_s(known, status)
    left = total - done if done is not None and total is not None else None
    reason = failure or (known.reason if known and status in ("failed", "interrupted") else None)
    jobs = _jobs(known) if known else ()
    return StageRow(
        id=planned.id,
        name=planned.name,
        seed=planned.seed,
        kind=planned.kind,
        status=status,
        reason=reason,
        inputs=tuple(planned.inputs.values()),
        done=done,
        total=total,
        unit=progress.unit if progress else None,
        rate_per_s=rate_per_s,
        eta_s=max(left, 0) / rate_per_s if status == "running" and left is not None and rate_per_s else None,
        figures=progress.figures if progress else {},
        attempts=len(known.attempts) if known else 0,
        jobs=jobs,
        seen=tuple(evidence.jobs[job] for job in jobs if job in evidence.jobs),
        elapsed_s=_elapsed_s(known, status, evidence.now_s),
        energy_kwh=None,
        co2_g=None,
        energy_method=None,
    )


def with_energy(row: StageRow, energy: EnergyTotal | None) -> StageRow:
    if energy is None:
        return row
    # What has begun has used something: a sum of 0 means that nothing was seen yet.
    return row._replace(energy_kwh=energy.energy_kwh or None, co2_g=energy.co2_g or None, energy_method=energy.method)


def _jobs(known: StageState) -> tuple[str, ...]:
    return tuple(sorted(known.jobs | {attempt.job for attempt in known.attempts if attempt.job}, key=natural_key))


def _rate_per_s(known: StageState | None, status: StageStatus) -> float | None:
    attempts = [attempt for attempt in known.attempts if attempt.progress] if known else []
    if not attempts or attempts[-1].progress is None:
        return None
    latest = attempts[-1].progress.event
    reported = latest.figures.get("tokens_per_s") if latest.unit == "tokens" else None
    if status == "running" and reported:
        return reported
    return _mean_rate_per_s(attempts[-1]) or reported


def _mean_rate_per_s(attempt: AttemptState) -> float | None:
    """Over the attempt's progress, by its writer's own clock; None for one line, or one of another unit."""
    first, last = attempt.first_progress, attempt.progress
    if first is None or last is None or first.writer != last.writer or first.event.unit != last.event.unit:
        return None
    elapsed_s = last.mono_s - first.mono_s
    return (last.event.done - first.event.done) / elapsed_s if elapsed_s > 0 else None


def _elapsed_s(known: StageState | None, status: StageStatus, now_s: float) -> float | None:
    parts = [attempt.elapsed_s for attempt in known.attempts if attempt.elapsed_s is not None] if known else []
    if not known or not parts:
        return None
    last_seen_s = known.attempts[-1].last_seen_s
    since_s = max(now_s - last_seen_s, 0.0) if status == "running" and last_seen_s is not None else 0.0
    return sum(parts) + since_s
