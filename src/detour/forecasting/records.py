"""Which forecasts are recorded and scored, and how good the last ones have been. Pure, and quick to import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from detour.forecasting.loss import pair_loss_s
from detour.ledger.events import ForecastMade, ForecastScored
from detour.ledger.record import Entry

SCORED = 40
"""Number of jobs in the score that is shown."""
LEAST_STANDING_S = 3600.0
START, LATER, END = "start", "later start", "end"
JobKey: TypeAlias = tuple[str | None, str]
"""Slurm cluster, as `JobIntended` has it, and job: several clusters may use the same id."""


class Accuracy(NamedTuple):
    """The last jobs that waited and have started, ordered by start and id, each with its first forecast."""

    jobs: int
    by_p50: float
    """Share that started no later than its p50; 0.5 is right."""
    by_p90: float
    """Share that started no later than its p90; 0.9 is right."""
    pinball_s: float

    def __str__(self) -> str:
        number = "the last job" if self.jobs == 1 else f"the last {self.jobs} jobs"
        return f"{self.by_p90:.0%} of starts fell inside the band over {number} (p90), {self.by_p50:.0%} by the p50"


def accuracy(scored: Iterable[Entry[ForecastScored]]) -> Accuracy | None:
    """Accuracy of the last `SCORED` jobs; None before the first start."""
    first: dict[JobKey, Entry[ForecastScored]] = {}
    for entry in scored:
        job = job_key(entry)
        if entry.event.of == START and (job not in first or entry.event.made_s < first[job].event.made_s):
            first[job] = entry
    newest = sorted(first, key=lambda job: (first[job].event.actual_s, job[1]))[-SCORED:]
    last = [first[job].event for job in newest]
    if not last:
        return None
    return Accuracy(
        jobs=len(last),
        by_p50=sum(event.actual_s <= event.p50_s for event in last) / len(last),
        by_p90=sum(event.actual_s <= event.p90_s for event in last) / len(last),
        pinball_s=sum(event.pinball_s for event in last) / len(last),
    )


def job_key(entry: Entry[ForecastMade] | Entry[ForecastScored]) -> JobKey:
    return entry.event.slurm_cluster, entry.job or ""


def made_at_s(made: Entry[ForecastMade]) -> float:
    """When it was made, which may be shortly before it was recorded."""
    return made.wall_s if made.event.made_s is None else made.event.made_s


def is_current(made: Entry[ForecastMade] | None, job: str | None, begun_s: float | None, now_s: float) -> bool:
    """Whether a stage's last forecast is still current, so that no new one is needed.

    It is if it concerns the same job, that job has not begun to wait since, and it is younger than an hour or than the
    wait when it was made. The number of forecasts of a job thus grows with the logarithm of its wait.
    """
    if made is None or made.job != job or (made.event.begun_s is None) != (begun_s is None):
        return False
    made_s = made_at_s(made)
    waited_s = 0.0 if begun_s is None else made_s - begun_s
    return now_s - made_s < max(LEAST_STANDING_S, waited_s)


class Happened(NamedTuple):
    started_s: Mapping[JobKey, float]
    """Job -> its first start."""
    ended_s: Mapping[str, float]
    """Stage -> when it was done."""


def new_scores(
    made: Sequence[Entry[ForecastMade]], scored: Iterable[Entry[ForecastScored]], happened: Happened
) -> Iterator[tuple[Entry[ForecastMade], ForecastScored]]:
    """Scores of the forecasts whose start or end has come since they were made, and that have no score yet."""
    known = {(entry.stage, entry.job, entry.event.of, entry.event.made_s) for entry in scored}
    for entry in made:
        event, made_s = entry.event, made_at_s(entry)
        of = LATER if event.begun_s is None else START
        quantiles = [(of, event.start_p50_s, event.start_p90_s, happened.started_s.get(job_key(entry)))]
        if event.end_p50_s is not None and event.end_p90_s is not None:
            quantiles.append((END, event.end_p50_s, event.end_p90_s, happened.ended_s.get(entry.stage or "")))
        for what, p50_s, p90_s, actual_s in quantiles:
            if actual_s is None or actual_s < made_s or (entry.stage, entry.job, what, made_s) in known:
                continue
            yield (
                entry,
                ForecastScored(
                    of=what,
                    made_s=made_s,
                    p50_s=p50_s,
                    p90_s=p90_s,
                    actual_s=actual_s,
                    pinball_s=pair_loss_s(p50_s, p90_s, actual_s),
                    method=event.method,
                    slurm_start_s=event.slurm_start_s if what != END else None,
                    slurm_cluster=event.slurm_cluster,
                ),
            )
