"""What a forecast is based on, and what it must not know."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.forecasting.bursts import MAX_JOBS_PER_BURST, Bursts
from detour.forecasting.forecaster import Expected, Forecaster, NoForecast
from detour.forecasting.waits import HOUR_S, Shape, Wait

SHAPE = Shape(4, 3)


def waits(hours: list[float], *, account: str = "own", jobs: int = 1) -> list[Wait]:
    """One burst a day, each of whose jobs waits this many hours."""
    days = enumerate(hours)
    return [
        Wait(f"{day}_{index}", account, SHAPE, day * 24 * HOUR_S, (day * 24 + wait) * HOUR_S)
        for day, wait in days
        for index in range(jobs)
    ]


def taught(known: list[Wait], *, feedback: bool = True) -> Forecaster:
    forecaster = Forecaster()
    if not feedback:
        forecaster._feedback.remember = lambda *_: None  # type: ignore[method-assign]
    for wait in known:
        forecaster.add(wait)
    return forecaster


def expected(known: list[Wait], day: float, waited_s: float = 0.0) -> Expected | NoForecast:
    return taught(known).forecast(SHAPE, "own", day * 24 * HOUR_S, waited_s)


@pytest.mark.parametrize("jobs", [1, 50])
def test_fewer_than_ten_bursts_give_no_forecast_however_many_jobs_they_have(jobs: int) -> None:
    refused = expected(waits([1.0] * 9, jobs=jobs), 9)
    assert refused == NoForecast("9 bursts of such jobs in the history, of 10 that a forecast needs")
    assert isinstance(expected(waits([1.0] * 10, jobs=jobs), 10), Expected)
    assert expected(waits([1.0], jobs=jobs), 1) == NoForecast(
        "1 burst of such jobs in the history, of 10 that a forecast needs"
    )


def test_the_forecast_is_the_quantiles_of_the_bursts() -> None:
    """Quantiles of ten bursts of 1 to 10 hours, without corrections, since no forecasts are scored.

    An eleventh is below the sixth with probability 6/11, the first value above one half, and longer than all with
    probability 1/11, or slightly more since the latest weigh most.
    """
    forecaster = taught(waits([float(hour) for hour in range(1, 11)]), feedback=False)
    made = forecaster.forecast(SHAPE, "own", 30 * 24 * HOUR_S)
    assert isinstance(made, Expected)
    assert (made.p50_s, made.bursts) == (6 * HOUR_S, 10)
    assert 10 * HOUR_S <= made.p90_s <= 12 * HOUR_S


def test_a_burst_counts_once_whatever_its_size() -> None:
    small, large = waits([1.0] * 20), [*waits([1.0] * 20)]
    large += [wait._replace(job=f"again-{index}") for index, wait in enumerate([small[-1]] * 200)]
    assert expected(small, 30) == expected(sorted(large, key=lambda wait: wait.begun_s), 30)


def test_recent_bursts_count_most() -> None:
    """As many bursts of 1 h as of 10 h, in either order."""
    slower, quicker = expected(waits([1.0] * 20 + [10.0] * 20), 50), expected(waits([10.0] * 20 + [1.0] * 20), 50)
    assert isinstance(slower, Expected)
    assert isinstance(quicker, Expected)
    assert (quicker.p50_s, slower.p50_s) == (1 * HOUR_S, 10 * HOUR_S)


def test_a_large_burst_is_represented_by_some_of_its_jobs() -> None:
    bursts = Bursts()
    for index in range(1000):
        burst = bursts.add(Wait(str(index), "own", SHAPE, 0.0))
    seen = list(burst.observed(10.0))
    assert len(seen) <= MAX_JOBS_PER_BURST
    assert sum(one.weight for one in seen) == pytest.approx(1.0)


def test_pending_jobs_make_forecasts_longer() -> None:
    ended = waits([1.0] * 10)
    pending = [Wait(f"p{day}", "own", SHAPE, (10 + day) * 24 * HOUR_S) for day in range(5)]
    before, after = expected(ended, 20), expected([*ended, *pending], 20)
    assert isinstance(before, Expected)
    assert isinstance(after, Expected)
    assert after.p90_s > before.p90_s


def test_cancelled_bursts_do_not_count_afterwards() -> None:
    ended = waits([1.0] * 10)
    left = [Wait(f"c{day}", "own", SHAPE, (10 + day) * 24 * HOUR_S, left_s=22 * 24 * HOUR_S) for day in range(10)]
    known, unknown = taught([*ended, *left], feedback=False), taught(ended, feedback=False)
    for day, same in ((21, False), (23, True)):
        now_s = day * 24 * HOUR_S
        assert (known.forecast(SHAPE, "own", now_s) == unknown.forecast(SHAPE, "own", now_s)) is same


def test_a_forecast_of_a_job_that_has_waited_is_not_in_the_past() -> None:
    made = expected(waits([1.0 + 7 * day % 20 for day in range(20)]), 30, waited_s=12 * HOUR_S)
    assert isinstance(made, Expected)
    assert 12 * HOUR_S <= made.p50_s <= made.p90_s


def test_a_job_that_has_waited_longer_than_most_is_forecast_from_those_that_waited_longer() -> None:
    made = expected(waits([1.0] * 15 + [50.0, 60.0, 70.0]), 30, waited_s=20 * HOUR_S)
    assert isinstance(made, Expected)
    assert 50 * HOUR_S <= made.p50_s <= 70 * HOUR_S < made.p90_s


def test_no_wait_is_expected_where_no_job_waits() -> None:
    made = expected(waits([0.0] * 12), 12)
    assert isinstance(made, Expected)
    assert (made.p50_s, made.p90_s) == (0.0, 0.0)


def test_a_job_that_has_waited_longer_than_all_others_has_no_forecast() -> None:
    refused = expected(waits([1.0] * 12), 12, waited_s=HOUR_S * 2)
    assert refused == NoForecast("it has waited longer than all started jobs of the last 12 bursts like it")


@pytest.mark.parametrize("ended", [0, 5])
def test_there_is_no_forecast_while_most_jobs_have_not_started(ended: int) -> None:
    pending = [Wait(str(day), "own", SHAPE, day * 24 * HOUR_S) for day in range(ended, 12)]
    assert expected([*waits([1.0] * ended), *pending], 12) == NoForecast(
        "most jobs of the last 12 bursts like it have not started yet"
    )


def test_other_shapes_do_not_count() -> None:
    other = [wait._replace(shape=Shape(1, 0)) for wait in waits([1.0] * 20)]
    assert isinstance(expected(other, 20), NoForecast)


def test_other_accounts_count_where_the_account_has_few_bursts() -> None:
    made = expected(waits([5.0] * 20, account="other"), 20)
    assert isinstance(made, Expected)
    assert made.p50_s == 5 * HOUR_S


HISTORY = st.lists(st.tuples(st.floats(0, 5e5), st.floats(0, 2e5), st.booleans()), min_size=20, max_size=60)


@settings(deadline=None, max_examples=50)
@given(HISTORY, st.floats(1e5, 6e5))
def test_no_forecast_depends_on_what_happens_later(history: list[tuple[float, float, bool]], now_s: float) -> None:
    """Later forecasts do not change it either: a forecast for a past time is the one that was possible then."""
    known = sorted(
        (
            Wait(str(index), "own", SHAPE, begun_s, begun_s + wait_s if starts else None, begun_s + wait_s)
            for index, (begun_s, wait_s, starts) in enumerate(history)
        ),
        key=lambda wait: wait.begun_s,
    )
    as_of_then = [
        wait._replace(
            started_s=wait.started_s if wait.started_s is not None and wait.started_s <= now_s else None,
            left_s=wait.left_s if wait.left_s is not None and wait.left_s <= now_s else None,
        )
        for wait in known
        if wait.begun_s <= now_s
    ]
    hindsight = taught([wait for wait in known if wait.begun_s <= now_s]).forecast(SHAPE, "own", now_s)
    assert taught(as_of_then).forecast(SHAPE, "own", now_s) == hindsight


def test_one_waiting_job_does_not_make_forecasts_late_where_most_start_at_once() -> None:
    idle = waits([5.0 if day % 30 == 29 else 0.0 for day in range(100)])
    waiting = Wait("waits", "own", SHAPE, 100 * 24 * HOUR_S)
    made = expected([*idle, waiting], 101)
    assert isinstance(made, Expected)
    assert (made.p50_s, made.p90_s) == (0.0, 0.0)
