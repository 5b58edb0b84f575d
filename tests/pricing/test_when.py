"""Emissions of a plan by the hour of its start."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.energy import Band
from detour.accounting.hourly import HourlyFactors
from detour.accounting.hours import HOUR_S
from detour.config.cluster import Cluster
from detour.config.loading import load_cluster, load_recipe
from detour.errors import UserError
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.stage import Stage
from detour.pricing.price import prices_of
from detour.pricing.totals import critical_path_s, total
from detour.pricing.when import Draw, QueueStart, draws, emitted, start_times
from tests.support.no_history import NoHistory

RECIPE = Path(__file__).parents[2] / "configs" / "recipes" / "moderncamembert-bio-base.yaml"
DAY_S = 24 * HOUR_S
NOW_S = 20_000 * DAY_S + 600.0


def hourly(*factors: float, start_s: float = 20_000 * DAY_S) -> HourlyFactors:
    return HourlyFactors(tuple(start_s + HOUR_S * hour for hour in range(len(factors))), factors)


@pytest.fixture(scope="module")
def stages() -> tuple[Stage, ...]:
    return tuple(Planner(lambda _: Content((), (), 1000)).plan(load_recipe(RECIPE)).stages)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return load_cluster("jean-zay")


def test_the_energy_drawn_sums_to_the_price_and_ends_with_the_critical_path(
    stages: tuple[Stage, ...], cluster: Cluster
) -> None:
    prices = prices_of(stages, cluster, NoHistory())
    drawn = list(draws(stages, prices, cluster))
    estimate = total(stages, prices, cluster).figures[1].facility_energy_kwh
    assert estimate is not None
    assert sum(draw.energy_kwh.expected for draw in drawn) == pytest.approx(estimate.expected)
    assert max(draw.end_s for draw in drawn) == pytest.approx(critical_path_s(stages, prices).expected)


@given(st.lists(st.tuples(st.floats(0, 50_000), st.floats(1, 50_000), st.floats(0, 100)), min_size=1, max_size=5))
def test_under_a_constant_factor_the_start_does_not_matter(parts: list[tuple[float, float, float]]) -> None:
    drawn = [Draw(start, start + length, Band.around(kwh, 0.35)) for start, length, kwh in parts]
    grams = emitted(drawn, hourly(*[50.0] * 100), NOW_S)
    assert grams is not None
    assert grams.expected == pytest.approx(50 * sum(kwh for *_, kwh in parts))
    assert grams.high == pytest.approx(grams.expected * 1.35)


def test_each_hour_is_weighted_by_the_energy_used_in_it() -> None:
    """Half an hour at 10 g, an hour at 100 g, half an hour at 20 g, of 1 kW."""
    drawn = [Draw(0.0, 1800.0, Band.around(0.5)), Draw(1800.0, 7200.0, Band.around(1.5))]
    grams = emitted(drawn, hourly(10.0, 100.0, 20.0), 20_000 * DAY_S + 1800.0)
    assert grams is not None
    assert grams.expected == pytest.approx(5 + 100 + 10)
    assert emitted(drawn, hourly(10.0, 100.0), 20_000 * DAY_S + 1800.0) is None


def test_starts_are_now_and_every_full_hour_covered_by_the_factors(stages: tuple[Stage, ...], cluster: Cluster) -> None:
    prices = prices_of(stages, cluster, NoHistory())
    factors = hourly(*[50.0] * 10, 20.0, *[50.0] * 13)
    found = start_times(stages, prices, cluster, factors, NOW_S, QueueStart(NOW_S + 7200, "Slurm expects"))
    assert found.starts[0].at_s == NOW_S
    assert [start.at_s % HOUR_S for start in found.starts[1:]] == [0.0] * (len(found.starts) - 1)
    assert found.starts[-1].at_s + found.duration_s <= factors.end_s < found.starts[-1].at_s + found.duration_s + HOUR_S
    assert found.least.co2_g.expected < found.most.co2_g.expected
    assert found.expected is not None
    assert [stage.kind for stage in found.unpriced] == ["prepare"]


def test_starts_that_cannot_be_compared_are_refused(stages: tuple[Stage, ...], cluster: Cluster) -> None:
    prices = prices_of(stages, cluster, NoHistory())
    with pytest.raises(UserError, match="do not cover"):
        start_times(stages, prices, cluster, hourly(50.0, 50.0), NOW_S)
    with pytest.raises(UserError, match="do not cover"):
        start_times(stages, prices, cluster, hourly(*[50.0] * 48), NOW_S + 3 * DAY_S)
    with pytest.raises(UserError, match=r"site\.pue"):
        start_times(stages, prices, load_cluster("leonardo"), hourly(*[50.0] * 48), NOW_S)
    with pytest.raises(UserError, match="no remaining stage"):
        start_times(stages[:1], prices, cluster, hourly(*[50.0] * 48), NOW_S)
