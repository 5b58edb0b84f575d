"""Slurm's own estimate of a start, corrected by its past errors.

At some sites half of all jobs have started by it, at others a tenth. Once ten estimates are scored, their errors show
how much later than its estimate a job starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from detour.forecasting.records import LATER, START, JobKey, job_key
from detour.ledger.events import ForecastScored
from detour.ledger.record import Entry

LEAST_SCORED = 10
REMEMBERED = 100


def errors_s(scored: Iterable[Entry[ForecastScored]]) -> list[float]:
    """How much later than Slurm's estimate jobs started: the last jobs, each with its first estimate."""
    first: dict[JobKey, Entry[ForecastScored]] = {}
    for entry in scored:
        event, job = entry.event, job_key(entry)
        if event.slurm_start_s is None or event.of not in (START, LATER):
            continue
        if job not in first or event.made_s < first[job].event.made_s:
            first[job] = entry
    last = sorted((entry.event for entry in first.values()), key=lambda event: event.actual_s)[-REMEMBERED:]
    return [event.actual_s - (event.slurm_start_s or 0.0) for event in last]


def corrected_s(estimate_s: float, errors: Iterable[float], share: float) -> float | None:
    """The estimate plus the quantile of past errors, by the rank of a new error among them (split conformal).

    None while too few errors are known.
    """
    known = sorted(errors)
    if len(known) < LEAST_SCORED:
        return None
    return estimate_s + known[min(len(known), ceil(share * (len(known) + 1))) - 1]
