"""Hours of all attempts of a job."""

from __future__ import annotations

from detour.accounting.fates import Known
from detour.accounting.hours import cpu_hours, gpu_hours, overlap_s
from tests.accounting.samples import usage_between


def test_three_attempts_of_one_job_are_60_gpu_hours_and_not_the_24_of_the_latest() -> None:
    attempts = [usage_between(0, 4, "1"), usage_between(5, 10, "2"), usage_between(12, 18, "3")]
    assert sum(gpu_hours(attempt) or 0 for attempt in attempts) == 60.0
    assert gpu_hours(attempts[-1]) == 24.0
    assert cpu_hours(attempts[-1]) == 576.0


def test_unknown_counts_give_unknown_hours_and_not_0() -> None:
    assert gpu_hours(usage_between(0, 1, gpus=None)) is None
    assert gpu_hours(usage_between(0, 1, gpus=0)) == 0.0
    assert Known.sum([1.0, None, 2.0]) == Known(3.0, 1)
    assert Known.sum([None]) == Known(None, 1)
    assert Known.sum([]) == Known(0.0, 0)


def test_overlaps_are_the_time_beyond_the_union() -> None:
    assert overlap_s([(0.0, 10.0), (5.0, 12.0), (20.0, 30.0)]) == 5.0
    assert overlap_s([(0.0, 1.0), (1.0, 2.0)]) == 0.0
    assert overlap_s([]) == 0.0
