"""PUE and grid factor by month and hour, weighted by the energy used in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.energy import Band, EnergyFigure, Method, total
from detour.accounting.hourly import read_hourly
from detour.accounting.periods import over
from detour.errors import UserError
from detour.site import Hourly, Month, Site, Sourced
from tests.support.times import utc_s

JANUARY = Month("2026-01", Sourced(1.1, "site, monthly"), Sourced(20.0, "grid, monthly", 2026, "direct", "FR"))
MARCH = Month("2026-03", None, Sourced(80.0, "grid, monthly", 2026, "direct", "FR"))
SITE = Site("here", Sourced(1.3, "site, yearly"), Sourced(50.0, "grid, yearly", 2025), months=(JANUARY, MARCH))
amounts = st.floats(0.0, 1e6)


def values(site: Site) -> list[float]:
    assert site.pue is not None
    assert site.grid_g_per_kwh is not None
    return [site.pue.value, site.grid_g_per_kwh.value]


@pytest.mark.parametrize(
    ("start", "end", "pue", "factor"),
    [
        ("2026-01-10", "2026-01-11", 1.1, 20.0),
        ("2026-02-10", "2026-02-11", 1.3, 50.0),
        ("2026-03-10", "2026-03-11", 1.3, 80.0),
        ("2026-01-10", "2026-01-10", 1.1, 20.0),
    ],
)
def test_a_month_has_its_own_constants_or_those_of_the_site(start: str, end: str, pue: float, factor: float) -> None:
    assert values(over(SITE, [(utc_s(start), utc_s(end), 1.0)])) == [pue, factor]


def test_across_months_the_constants_are_weighted_and_say_so() -> None:
    mixed = over(SITE, [(utc_s("2026-01-31T12:00"), utc_s("2026-02-01T12:00"), 8.0)])
    assert values(mixed) == pytest.approx([1.2, (1.1 * 20 + 1.3 * 50) / 2.4])
    assert mixed.grid_g_per_kwh is not None
    assert str(mixed.grid_g_per_kwh) == "36.25 (weighted mean, grid, monthly; grid, yearly)"


def test_a_site_without_months_and_hours_is_unchanged() -> None:
    plain = SITE._replace(months=())
    assert over(plain, [(0.0, 1.0, 1.0)]) is plain


def test_an_unknown_factor_in_a_part_makes_the_whole_unknown() -> None:
    site = SITE._replace(grid_g_per_kwh=None)
    assert over(site, [(utc_s("2026-01-31"), utc_s("2026-02-02"), 1.0)]).grid_g_per_kwh is None


@given(st.lists(st.tuples(amounts, st.integers(0, 11)), min_size=1, max_size=8))
def test_the_co2_of_a_sum_over_months_is_the_sum_of_its_parts(parts: list[tuple[float, int]]) -> None:
    months = tuple(Month(f"2026-{n + 1:02d}", Sourced(1 + n / 10, "p"), Sourced(10.0 * n + 5, "g")) for n in range(12))
    site = SITE._replace(months=months)
    figures = [
        EnergyFigure(
            Method.ESTIMATED, over(site, [(utc_s(f"2026-{n + 1:02d}-05"), utc_s(f"2026-{n + 1:02d}-06"), kwh)]),
            Band.around(kwh), 1.0, 1.0,
        )
        for kwh, n in parts
    ]  # fmt: skip
    whole = total(figures)
    assert whole.co2_g is not None
    assert whole.facility_energy_kwh is not None
    assert whole.facility_energy_kwh.expected == pytest.approx(sum(kwh * (1 + n / 10) for kwh, n in parts))
    assert whole.co2_g.expected == pytest.approx(sum(kwh * (1 + n / 10) * (10.0 * n + 5) for kwh, n in parts))


def test_a_site_survives_the_round_trip() -> None:
    site = SITE._replace(hourly=Hourly("/f.csv", "grid", "lifecycle", "FR"), embodied_g_per_gpu_hour=Sourced(10.3, "b"))
    assert Site.from_json(site.to_json()) == site
    assert Site.from_json({"name": "x", "months": [3, {"month": 1}], "hourly": 7}) == Site("x")


HOURS = """# grid factors
hour,region,g_per_kwh
2026-01-01T01:00Z,FR,40
2026-01-01T00:00Z,FR,20
2026-01-01T02:00+00:00,FR,60
2026-01-01T02:30Z,FR,80
"""


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    path = tmp_path / "hours.csv"
    path.write_text(HOURS)
    return path


def test_an_hourly_file_weights_the_energy_by_the_hour(hours: Path) -> None:
    site = SITE._replace(hourly=Hourly(str(hours), "operator", "direct", "FR"))
    drawn = [
        (utc_s("2026-01-01T00:00"), utc_s("2026-01-01T01:00"), 3.0),
        (utc_s("2026-01-01T01:30"), utc_s("2026-01-01T02:00"), 1.0),
    ]
    factor = over(site, drawn).grid_g_per_kwh
    assert factor is not None
    assert factor.value == pytest.approx((3 * 20 + 40) / 4)
    assert (factor.source, factor.kind, factor.zone, factor.is_mean) == ("operator", "direct", "FR", True)


def test_in_gaps_of_the_file_the_factor_of_the_month_applies(hours: Path) -> None:
    site = SITE._replace(hourly=Hourly(str(hours), "operator"))
    drawn = [(utc_s("2026-01-01T03:00"), utc_s("2026-01-01T04:00"), 1.0)]
    assert values(over(site, drawn)) == pytest.approx([1.1, (80 + 20) / 2])
    nowhere = SITE._replace(hourly=Hourly(str(hours.with_name("gone.csv")), "operator"))
    assert values(over(nowhere, drawn)) == [1.1, 20.0]


def test_a_row_applies_until_the_next_one_and_for_an_hour_at_most(hours: Path) -> None:
    factors = read_hourly(hours)
    assert factors.mean(utc_s("2026-01-01T00:30"), utc_s("2026-01-01T01:30")) == pytest.approx(30.0)
    assert factors.mean(utc_s("2026-01-01T02:00"), utc_s("2026-01-01T03:30")) == pytest.approx((60 * 0.5 + 80) / 1.5)
    assert factors.mean(utc_s("2026-01-01T02:00"), utc_s("2026-01-01T04:00")) is None
    assert factors.mean(utc_s("2025-12-31T23:00"), utc_s("2026-01-01T01:00")) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hour,factor\n", "hours.csv:1: no column g_per_kwh"),
        ("hour,g_per_kwh\n2026-01-01T00:00Z,x\n", "hours.csv:2: g_per_kwh: expected gCO2eq/kWh, 0 to 2000, found 'x'"),
        ("hour,g_per_kwh\n2026-01-01T00:00Z,-1\n", "hours.csv:2: g_per_kwh"),
        (
            "hour,g_per_kwh\nyesterday,1\n",
            "hours.csv:2: hour: expected a time such as 2026-01-31T13:00Z, found 'yesterday'",
        ),
        ("hour,g_per_kwh\n2026-01-01T00:00Z,1\n2026-01-01T01:00+01:00,2\n", "hours.csv:3: hour: the same as in line 2"),
        ("hour,g_per_kwh\n", "has no factors"),
        ("", "has no factors"),
    ],
)
def test_an_invalid_file_is_refused_at_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "hours.csv"
    path.write_text(content)
    with pytest.raises(UserError) as refusal:
        read_hourly(path)
    assert message in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read"):
        read_hourly(tmp_path / "gone.csv")
