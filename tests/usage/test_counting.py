"""What an attempt adds to each period."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from detour.sacct.rows import JobRow
from detour.usage.calendar import Calendar, Unit, coarser
from detour.usage.counting import Counting, Rule
from detour.usage.totals import Totals, unpack

MARCH_S = 1_772_323_200
"""2026-03-01T00:00:00Z."""
HOUR_S = 3600
OVER_MIDNIGHT = JobRow(
    job_id=1,
    shown_id="1",
    state="COMPLETED",
    submit_s=MARCH_S - 5 * HOUR_S,
    eligible_s=MARCH_S - 4 * HOUR_S,
    start_s=MARCH_S - HOUR_S,
    end_s=MARCH_S + 3 * HOUR_S,
    elapsed_s=4 * HOUR_S,
    n_cpus=24,
    n_gpus=2,
    n_nodes=1,
)
"""From 23:00 on the last day of February to 03:00 on the first of March."""


def counted(row: JobRow, counting: Counting, **period: float) -> dict[str, Totals]:
    rule = Rule(counting, Calendar(Unit.MONTH, UTC), **period)
    return {label: unpack(figures) for label, figures in rule.shares(row).items()}


def hours(found: dict[str, Totals]) -> dict[str, tuple[int, float | None, float | None, float | None]]:
    return {label: (one.jobs, one.cpu_hours, one.gpu_hours, one.wait_hours) for label, one in found.items()}


def test_hours_are_split_by_seconds_and_a_job_counts_at_its_end_and_its_wait_at_its_start() -> None:
    assert hours(counted(OVER_MIDNIGHT, Counting.SPLIT)) == {
        "2026-02": (0, 24.0, 2.0, 4.0),
        "2026-03": (1, 72.0, 6.0, 0.0),
    }


@pytest.mark.parametrize(
    ("counting", "month"), [(Counting.SUBMIT, "2026-02"), (Counting.START, "2026-02"), (Counting.END, "2026-03")]
)
def test_an_attempt_can_be_counted_in_a_single_period(counting: Counting, month: str) -> None:
    assert hours(counted(OVER_MIDNIGHT, counting)) == {month: (1, 96.0, 8.0, 4.0)}


def test_xdmod_counts_the_first_and_the_last_second_of_a_span() -> None:
    """It makes 14,401 seconds of 14,400: 3,600 of them in February."""
    found = counted(OVER_MIDNIGHT, Counting.XDMOD)
    assert found["2026-02"].cpu_hours == pytest.approx(96 * 3600 / 14_401)
    assert found["2026-03"].cpu_hours == pytest.approx(96 * 10_801 / 14_401)


def test_xdmod_leaves_out_jobs_that_have_not_ended_or_never_ran() -> None:
    assert counted(OVER_MIDNIGHT._replace(end_s=None, state="RUNNING"), Counting.XDMOD) == {}
    assert counted(OVER_MIDNIGHT._replace(start_s=None, state="CANCELLED"), Counting.XDMOD) == {}
    assert counted(OVER_MIDNIGHT._replace(state="REQUEUED"), Counting.XDMOD) == {}


def test_a_period_cuts_an_attempt_to_the_second() -> None:
    inside = counted(OVER_MIDNIGHT, Counting.SPLIT, since_s=MARCH_S, until_s=MARCH_S + HOUR_S)
    assert hours(inside) == {"2026-03": (0, 24.0, 2.0, 0.0)}


def test_an_end_at_exactly_midnight_belongs_to_the_new_day() -> None:
    row = OVER_MIDNIGHT._replace(end_s=MARCH_S, elapsed_s=HOUR_S)
    assert hours(counted(row, Counting.SPLIT)) == {"2026-02": (0, 24.0, 2.0, 4.0), "2026-03": (1, 0.0, 0.0, 0.0)}


def test_suspended_time_is_not_counted() -> None:
    row = OVER_MIDNIGHT._replace(elapsed_s=2 * HOUR_S)
    assert hours(counted(row, Counting.END)) == {"2026-03": (1, 48.0, 4.0, 4.0)}


def test_suspended_time_is_spread_evenly_over_the_months() -> None:
    """Of four hours, one of them in February, the job was suspended for two."""
    row = OVER_MIDNIGHT._replace(elapsed_s=2 * HOUR_S)
    assert hours(counted(row, Counting.SPLIT)) == {"2026-02": (0, 12.0, 1.0, 4.0), "2026-03": (1, 36.0, 3.0, 0.0)}


def test_tasks_that_never_started_are_counted_apart() -> None:
    never = counted(OVER_MIDNIGHT._replace(start_s=None, elapsed_s=0, tasks=3), Counting.SPLIT)
    assert never == {"2026-03": Totals(never_ran=3)}
    pending = counted(
        OVER_MIDNIGHT._replace(start_s=None, end_s=None, elapsed_s=0, tasks=3, state="PENDING"), Counting.SPLIT
    )
    assert pending == {"2026-02": Totals(pending=3)}
    endless = counted(OVER_MIDNIGHT._replace(start_s=None, end_s=None, elapsed_s=0, state="CANCELLED"), Counting.SPLIT)
    assert endless == {"2026-02": Totals(never_ran=1)}


def test_a_running_job_counts_until_the_time_of_the_dump() -> None:
    found = counted(OVER_MIDNIGHT._replace(end_s=None, elapsed_s=HOUR_S / 2, state="RUNNING"), Counting.SPLIT)
    assert hours(found) == {"2026-02": (1, 12.0, 1.0, 4.0)}
    assert found["2026-02"].running == 1


def test_figures_without_a_source_are_counted_as_unknown() -> None:
    unknown = OVER_MIDNIGHT._replace(n_gpus=None, elapsed_s=None, submit_s=None, eligible_s=None)
    (found,) = counted(unknown, Counting.END).values()
    assert (found.cpu_hours, found.gpu_hours, found.node_hours, found.wait_hours, found.queue_wait_hours) == (None,) * 5
    assert (found.no_cpus, found.no_gpus, found.no_nodes, found.no_wait, found.no_queue_wait) == (1,) * 5


@pytest.mark.parametrize("end_s", [MARCH_S + 3 * HOUR_S, None], ids=["ended", "running"])
def test_unknown_gpus_are_unknown_in_each_period_of_the_job(end_s: float | None) -> None:
    row = OVER_MIDNIGHT._replace(n_gpus=None, end_s=end_s, submit_s=None)
    found = counted(row, Counting.SPLIT)
    assert hours(found) == {"2026-02": (0, 24.0, None, None), "2026-03": (1, 72.0, None, 0.0)}
    assert [found[month].no_gpus for month in ("2026-02", "2026-03")] == [0, 1]
    within = counted(row, Counting.SPLIT, since_s=MARCH_S - HOUR_S, until_s=MARCH_S)
    assert hours(within) == {"2026-02": (0, 24.0, None, None)}


def test_an_unknown_number_for_no_time_is_no_unknown_time() -> None:
    found = counted(OVER_MIDNIGHT._replace(n_gpus=None, end_s=MARCH_S - HOUR_S, elapsed_s=0), Counting.SPLIT)
    assert hours(found) == {"2026-02": (1, 0.0, 0.0, 4.0)}


@pytest.mark.parametrize(
    ("label", "unit", "coarse"),
    [
        ("2026-03-31", Unit.MONTH, "2026-03"),
        ("2026-03-31", Unit.QUARTER, "2026-Q1"),
        ("2026-10", Unit.QUARTER, "2026-Q4"),
        ("2026-Q4", Unit.QUARTER, "2026-Q4"),
        ("2026-Q4", Unit.YEAR, "2026"),
        ("2026-03-31", Unit.DAY, "2026-03-31"),
    ],
)
def test_finer_periods_add_up_to_coarser_ones(label: str, unit: Unit, coarse: str) -> None:
    assert coarser(label, unit) == coarse


def test_a_day_of_a_clock_change_has_its_own_length() -> None:
    calendar = Calendar(Unit.DAY, ZoneInfo("Europe/Paris"))
    (start_s, end_s) = (1_774_738_800, 1_774_738_800 + 23 * HOUR_S)
    assert list(calendar.pieces(start_s, end_s + 1)) == [
        ("2026-03-29", start_s, end_s),
        ("2026-03-30", end_s, end_s + 1),
    ]


@pytest.mark.parametrize("unit", list(Unit))
def test_a_calendar_of_some_years_splits_like_one_of_all(unit: Unit) -> None:
    zone = ZoneInfo("America/New_York")
    start_s, end_s = MARCH_S - 400 * 86_400, MARCH_S + 306 * 86_400 - 1
    few, every = Calendar(unit, zone, start_s, end_s), Calendar(unit, zone)
    assert list(few.pieces(start_s, end_s)) == list(every.pieces(start_s, end_s))
    assert few.common_label(end_s, end_s) == every.common_label(end_s, end_s) is not None
