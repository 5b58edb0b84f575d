from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.energy import EnergyFigure, Method
from detour.accounting.hours import AttemptUsage
from detour.accounting.methods import card_convention
from detour.reporting.calendar import PeriodCost, by_period
from detour.reporting.costs import Counted, counted
from detour.site import Site, Sourced
from tests.support.times import utc_s

SITE = Site("here", Sourced(1.2, "test"), Sourced(34.0, "test"), Sourced(700.0, "test"))
DAY_S = 86_400.0


def ran(start_s: float, end_s: float, gpus: float = 4.0) -> Counted:
    usage = AttemptUsage(f"a{start_s}", "s", start_s, end_s, gpus, 96, ready_s=start_s, saved_s=end_s)

    def figures_in(part: AttemptUsage) -> list[EnergyFigure]:
        return [card_convention(SITE, gpus * part.allocated_s / 3600, part.allocated_s)]

    return counted(usage, figures_in, billed_hours=2 * gpus * usage.allocated_s / 3600)


def rows(*attempts: Counted, zone: str = "UTC") -> dict[str, PeriodCost]:
    return {row.period: row for row in by_period(attempts, zone, Method.CARD)}


def test_an_attempt_across_new_year_is_split_by_seconds() -> None:
    attempts = (
        ran(utc_s("2025-12-31 22:00"), utc_s("2026-01-01 01:00")),
        ran(utc_s("2026-03-01 00:00"), utc_s("2026-03-01 02:00")),
    )
    found = rows(*attempts)
    assert list(found) == ["2025-12", "2026-01", "2026-03"]
    december, january = found["2025-12"], found["2026-01"]
    assert (december.gpu_hours.value, january.gpu_hours.value) == (8.0, 4.0)
    assert (december.billed_hours.value, january.billed_hours.value) == (16.0, 8.0)
    assert december.co2_g is not None
    assert december.co2_g.expected == pytest.approx(8 * 0.7 * 1.2 * 34)
    assert december.useful_share == 1.0


def test_the_time_zone_decides_the_month_of_an_hour() -> None:
    attempts = (
        ran(utc_s("2026-06-30 21:30"), utc_s("2026-06-30 22:30")),
        ran(utc_s("2026-09-01 12:00"), utc_s("2026-09-01 13:00")),
    )
    assert list(rows(*attempts)) == ["2026-06", "2026-09"]
    paris = rows(*attempts, zone="Europe/Paris")
    assert [row.gpu_hours.value for row in paris.values()] == [2.0, 2.0, 4.0]


@pytest.mark.parametrize(("days", "last"), [(20, "2026-01-21"), (200, "2026-07"), (1000, "2028-Q3"), (4000, "2036")])
def test_the_unit_depends_on_the_span(days: int, last: str) -> None:
    start_s = utc_s("2026-01-01 00:00")
    found = rows(ran(start_s, start_s + 60), ran(start_s + days * DAY_S, start_s + days * DAY_S + 60))
    assert list(found)[-1] == last


def test_a_single_period_needs_no_table() -> None:
    assert rows(ran(utc_s("2026-01-01 10:00"), utc_s("2026-01-01 11:00"))) == {}
    assert by_period([], "UTC", None) == []


def test_the_energy_of_several_sites_is_unknown() -> None:
    elsewhere = EnergyFigure(Method.CARD, Site("there"), None, 60.0, 0.0)
    first, second = ran(0.0, 60.0), ran(2 * DAY_S, 2 * DAY_S + 60)
    mixed = counted(second.usage, lambda _: [*second.figures, elsewhere])
    assert [row.co2_g is None for row in rows(first, mixed).values()] == [False, True]


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 90_000)), min_size=1, max_size=8))
def test_the_periods_add_up_to_the_whole(spans: list[tuple[int, int]]) -> None:
    attempts = [ran(start * 3600.0, start * 3600.0 + seconds) for start, seconds in spans]
    found = by_period(attempts, "Europe/Paris", Method.CARD)
    if found:
        whole = fsum(one.gpu_hours or 0.0 for one in attempts)
        assert fsum(row.gpu_hours.value or 0.0 for row in found) == pytest.approx(whole)
        assert fsum(row.co2_g.expected for row in found if row.co2_g) == pytest.approx(whole * 0.7 * 1.2 * 34)
