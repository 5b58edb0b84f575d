"""Synthetic logs are valid, and the command's figures for them match an independent count."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.benchmarks.forecast_logs import replayed
from tests.forecasting.backfill import Job, Machine, schedule
from tests.forecasting.sites import SITES, asked, log


@pytest.fixture(scope="module", params=["full, sizes mixed", "GPUs, a limit a user"])
def scheduled(request: pytest.FixtureRequest) -> tuple[int, list[Job]]:
    """The machine's units, and the jobs."""
    site = SITES[request.param]
    jobs = asked(site, random.Random(3), 600)
    schedule(jobs, Machine(site.units, site.most_running, site.every_s, site.large_first), jobs[-1].submit_s)
    return site.units, jobs


def test_running_jobs_never_exceed_the_machine(scheduled: tuple[int, list[Job]]) -> None:
    units, jobs = scheduled
    began = [(job.start_s, job.size) for job in jobs if job.start_s is not None]
    ended = [(job.end_s, -job.size) for job in jobs if job.start_s is not None and job.end_s is not None]
    used = 0
    for _, size in sorted([*began, *ended]):
        used += size
        assert used <= units
    assert len(began) > 300


def test_a_dependent_job_begins_to_wait_when_the_other_has_ended(scheduled: tuple[int, list[Job]]) -> None:
    by_number = {job.number: job for job in scheduled[1]}
    dependents = [job for job in by_number.values() if job.after is not None and job.eligible_s is not None]
    assert dependents
    for job in dependents:
        assert job.after is not None
        assert job.eligible_s == max(job.submit_s, by_number[job.after].end_s or 0.0)


def test_the_printed_figures_equal_a_count_over_the_table_of_outcomes(tmp_path: Path) -> None:
    """`replayed` compares the two."""
    made = replayed(log(SITES["GPUs, full for days"], 3, 700), tmp_path)
    assert made is not None
    assert made.n > 200
