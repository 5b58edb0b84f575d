"""Prices against the authors' published figures, and what is unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from detour.accounting.energy import Method
from detour.accounting.price import Measured, NoHistory, Total, price, total, training_signature
from detour.plan.build import Content, Plan, Planner
from detour.plan.flops import BASE, LARGE, training_flops_per_token
from detour.plan.stage import Stage
from detour.recipe.loading import load_cluster, load_recipe
from detour.recipe.models import File, Recipe
from tests.support.recipes import make_recipe

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"


def plan(recipe: Recipe) -> Plan:
    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((), (), missing=entry.path)

    return Planner(inspect).plan(recipe)


def priced(name: str, cluster: str) -> Total:
    profile, stages = load_cluster(cluster), plan(load_recipe(RECIPES / f"{name}.yaml")).stages
    return total(stages, {stage.id: price(stage, profile, NoHistory()) for stage in stages}, profile)


@pytest.mark.parametrize(("size", "gpu_hours", "kg"), [("base", 16, 0.46), ("large", 32, 0.91)])
def test_the_published_chains_cost_what_the_authors_printed(size: str, gpu_hours: float, kg: float) -> None:
    sums = priced(f"moderncamembert-bio-{size}", "jean-zay")
    assert round(sums.gpu_hours.expected) == gpu_hours
    card = next(figure for figure in sums.figures if figure.method is Method.CARD)
    assert card.co2_g is not None
    assert round(card.co2_g.expected / 1000, 2) == kg


def test_what_nobody_has_timed_is_named_and_adds_nothing() -> None:
    sums = priced("moderncamembert-bio-base", "jean-zay")
    assert len(sums.unpriced) == 79 - 2
    assert "summarize" in sums.unpriced


def test_without_a_table_the_flops_give_a_wide_band() -> None:
    profile = load_cluster("jean-zay").model_copy(update={"throughput": ()})
    stage = plan(load_recipe(RECIPES / "moderncamembert-bio-base.yaml")).stages[1]
    row = price(stage, profile, NoHistory())
    assert row.gpu_hours is not None
    assert row.gpu_hours.low < 13.7 < row.gpu_hours.high, "the authors' measured CLM phase"
    assert "FLOPs at 30%" in row.source


def test_history_outranks_the_table() -> None:
    @dataclass
    class Known(NoHistory):
        def training(self, signature: str) -> Measured | None:
            return Measured(100.0, 60.0, 3) if signature == training_signature(clm) else None

    clm: Stage = plan(make_recipe()).stages[1]
    row = price(clm, load_cluster("local"), Known())
    assert row.wall_s is not None
    assert row.wall_s.expected == pytest.approx(60 + 8192 / 100)
    assert row.source == "measured here, 3 stage(s)"


def test_the_critical_path_is_no_longer_than_the_sum_and_no_shorter_than_any_stage() -> None:
    class Constant(NoHistory):
        def training(self, signature: str) -> Measured | None:  # noqa: ARG002
            return Measured(1000.0, 0.0, 1)

        def elapsed_s(self, stage: Stage) -> float | None:  # noqa: ARG002
            return 10.0

    profile, stages = load_cluster("local"), plan(make_recipe()).stages
    prices = {stage.id: price(stage, profile, Constant()) for stage in stages}
    sums = total(stages, prices, profile)
    chain = 10 + 8.192 + 10 + 2.048 + 10 + 10 + 10 + 10  # the two evaluations run side by side
    assert sums.critical_path_s.expected == pytest.approx(chain)
    assert sums.unpriced == ()


def test_parameter_counts_of_the_published_sizes() -> None:
    assert round(BASE.parameters / 1e6) == 150
    assert round(LARGE.parameters / 1e6) == 396, "ModernBERT-large"


def test_a_causal_row_costs_less_attention_and_more_vocabulary() -> None:
    causal = training_flops_per_token(BASE, 8192, "causal", 1.0)
    masked = training_flops_per_token(BASE, 8192, "masked", 0.3)
    no_vocabulary = training_flops_per_token(BASE, 8192, "causal", 0.0)
    assert no_vocabulary < masked
    assert causal - no_vocabulary == 6 * (768**2 + 50368 * 768)
