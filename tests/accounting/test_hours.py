"""Hours of all attempts of a job."""

from __future__ import annotations

from detour.accounting.fates import Known
from detour.accounting.hours import HOUR_S, AttemptUsage, cpu_hours, gpu_hours


def usage(start_h: float, end_h: float, attempt: str = "1", **more: object) -> AttemptUsage:
    base = AttemptUsage(attempt, "pretrain-a", start_h * HOUR_S, end_h * HOUR_S, gpus=4, cpus=96)
    return base._replace(**more)  # type: ignore[arg-type]


def test_three_attempts_of_one_job_are_60_gpu_hours_and_not_the_24_of_the_latest() -> None:
    attempts = [usage(0, 4, "1"), usage(5, 10, "2"), usage(12, 18, "3")]
    assert sum(gpu_hours(attempt) or 0 for attempt in attempts) == 60.0
    assert gpu_hours(attempts[-1]) == 24.0
    assert cpu_hours(attempts[-1]) == 576.0


def test_unknown_counts_give_unknown_hours_and_not_0() -> None:
    assert gpu_hours(usage(0, 1, gpus=None)) is None
    assert gpu_hours(usage(0, 1, gpus=0)) == 0.0
    assert Known.sum([1.0, None, 2.0]) == Known(3.0, 1)
    assert Known.sum([None]) == Known(None, 1)
    assert Known.sum([]) == Known(0.0, 0)
