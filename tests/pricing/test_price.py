"""Prices compared with the authors' published figures; unknowns stay unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detour.accounting.energy import Band, Method
from detour.config.cluster import Cluster
from detour.config.fields import File
from detour.config.loading import load_cluster, load_recipe
from detour.config.models import Gate, Probe, Recipe
from detour.flops import BASE, LARGE, expected_context, training_flops_per_token
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.plan import Plan
from detour.planning.stage import EvaluateStage, PretrainStage, Stage
from detour.pricing.estimates import FRENCH_VOCABULARY, estimate, model_shape
from detour.pricing.price import Measured, Price, disk_bytes, price, prices_of, work_bytes, work_signature
from detour.pricing.totals import critical_path_s, total, totals_by_part
from tests.support.no_history import NoHistory
from tests.support.recipes import make_recipe
from tests.support.stages import of_class

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"


def plan(recipe: Recipe, size_bytes: int | None = 1000) -> Plan:
    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((), (), size_bytes)

    return Planner(inspect).plan(recipe)


def shipped(name: str) -> Sequence[Stage]:
    return plan(load_recipe(RECIPES / f"{name}.yaml")).stages


def of_kind(stages: Sequence[Stage], kind: str) -> Stage:
    return next(stage for stage in stages if stage.kind == kind)


def without_table(cluster: str) -> Cluster:
    return load_cluster(cluster).model_copy(update={"throughput": ()})


class Known(NoHistory):
    def __init__(self, measured: Mapping[str, Measured]) -> None:
        self._measured = measured

    def measured(self, signature: str) -> Measured | None:
        return self._measured.get(signature)


@pytest.mark.parametrize(("size", "gpu_hours", "kg"), [("base", 16, 0.46), ("large", 32, 0.91)])
def test_the_published_trainings_cost_what_their_authors_state(size: str, gpu_hours: float, kg: float) -> None:
    profile, stages = load_cluster("jean-zay"), shipped(f"moderncamembert-bio-{size}")
    parts = totals_by_part(stages, prices_of(stages, profile, NoHistory()), profile)
    training = parts["pretraining"]
    assert training.stages == 2
    assert round(training.gpu_hours.expected) == gpu_hours
    card = next(figure for figure in training.figures if figure.method is Method.CARD)
    assert card.co2_g is not None
    assert round(card.co2_g.expected / 1000, 2) == kg


def test_parts_sum_to_the_whole() -> None:
    profile, stages = load_cluster("jean-zay"), shipped("moderncamembert-bio-base")
    prices = prices_of(stages, profile, NoHistory())
    parts, whole = totals_by_part(stages, prices, profile), total(stages, prices, profile)
    assert list(parts) == ["pretraining", "promotion", "evaluation", "no GPU"]
    assert sum(part.stages for part in parts.values()) == whole.stages == 79
    for name in ("low", "expected", "high"):
        assert sum(getattr(part.gpu_hours, name) for part in parts.values()) == pytest.approx(
            getattr(whole.gpu_hours, name)
        )
    assert sum(part.disk_bytes for part in parts.values()) == whole.disk_bytes


def test_the_bill_of_a_plan_is_unknown_without_a_figure_that_the_sites_rule_needs() -> None:
    profile, stages = load_cluster("jean-zay"), shipped("moderncamembert-bio-base")
    lacking = profile.model_copy(update={"cores_per_node": None})
    assert profile.billing.rule == "cores-share"
    parts = totals_by_part(stages, prices_of(stages, lacking, NoHistory()), lacking)
    assert round(parts["pretraining"].gpu_hours.expected) == 16
    assert parts["pretraining"].billed_hours is None
    assert parts["no GPU"].billed_hours == Band(0, 0, 0)
    whole = total(stages, prices_of(stages, profile, NoHistory()), profile)
    assert whole.billed_hours is not None, "the corpus has no price, but uses no GPU"


def test_stages_without_an_estimate_are_named_and_add_nothing() -> None:
    profile, stages = load_cluster("jean-zay"), shipped("moderncamembert-bio-base")
    prices = prices_of(stages, profile, NoHistory())
    whole = total(stages, prices, profile)
    assert whole.unpriced == whole.unsized == stages[:1], "the corpus"
    assert whole.without_gpu_hours == (), "so the GPU-hours are complete"

    percent = {"train": 80, "validation": 10, "test": 10, "unit": "percent"}
    stages = plan(make_recipe({"benchmark.tasks.chapter.split": percent})).stages
    prices = prices_of(stages, profile, NoHistory())
    unsaid = tuple(stage for stage in stages if stage.kind == "evaluate")
    assert total(stages, prices, profile).without_gpu_hours == unsaid, "percentages do not give the number of documents"
    assert "does not say how many documents" in price(of_kind(stages, "evaluate"), profile, NoHistory()).source


PUBLISHED = {"count": 1000, "source": "a paper"}


@pytest.mark.parametrize(
    ("split", "documents", "stated"),
    [
        ({"train": 80, "validation": 10, "test": 10, "unit": "percent"}, 3 * (800 + 100 / 3) + 100 / 3, "800"),
        (None, 3 * 1000, "1,000"),
    ],
)
def test_published_numbers_of_documents_price_an_evaluation(
    split: dict[str, Any] | None, documents: float, stated: str
) -> None:
    """A split that comes with the data has unknown parts, so all documents count as training ones."""
    changes = {"epochs": 3, "documents": PUBLISHED, "split": split, "max_length": 1024}
    stage = of_kind(
        plan(make_recipe({f"benchmark.tasks.chapter.{key}": value for key, value in changes.items()})).stages,
        "evaluate",
    )
    row = price(stage, load_cluster("jean-zay"), NoHistory())
    assert isinstance(stage, EvaluateStage)
    shape = model_shape(stage)
    assert shape is not None
    flops = training_flops_per_token(shape, "masked", 0.0, 1024)
    assert row.wall_s is not None
    assert row.wall_s.high == pytest.approx(documents * 1024 * flops / 989.4e12 / 0.05 + 180)
    assert row.source.startswith(f"upper estimate, 3 epochs of {stated} documents (a paper)")


def test_the_range_of_an_energy_includes_that_of_the_durations() -> None:
    profile, stages = load_cluster("jean-zay"), shipped("moderncamembert-bio-base")
    whole = total(stages, prices_of(stages, profile, NoHistory()), profile)
    card, estimate = whole.figures
    for figure, error in ((card, 0.0), (estimate, 0.35)):
        energy = figure.facility_energy_kwh
        assert energy is not None
        assert energy.low / energy.expected == pytest.approx(
            (1 - error) * whole.gpu_hours.low / whole.gpu_hours.expected, rel=0.01
        )
        assert energy.high / energy.expected == pytest.approx(
            (1 + error) * whole.gpu_hours.high / whole.gpu_hours.expected, rel=0.01
        )


def test_equal_stages_share_one_price_and_each_counts() -> None:
    profile, stages = load_cluster("jean-zay"), shipped("moderncamembert-bio-base")
    alone = {stage.id: price(stage, profile, NoHistory()) for stage in stages}
    shared = prices_of(stages, profile, NoHistory())
    assert shared == alone
    assert total(stages, shared, profile) == total(stages, alone, profile)


def test_without_a_table_an_estimate_from_flops_has_a_wide_range() -> None:
    row = price(shipped("moderncamembert-bio-base")[1], without_table("jean-zay"), NoHistory())
    assert row.gpu_hours is not None
    assert row.gpu_hours.low < 13.7 < row.gpu_hours.high, "the authors' measured CLM phase"
    assert "FLOPs at 30%" in row.source


def test_a_price_from_a_table_of_steps_includes_start_up_validation_and_checkpoints() -> None:
    profile = load_cluster("jean-zay")
    steps_only = profile.model_copy(update={"throughput": tuple(r for r in profile.throughput if r.objective)})
    stage = of_class(shipped("moderncamembert-bio-base"), PretrainStage)
    row = price(stage, steps_only, NoHistory())
    steps_s = stage.runtime.tokens / (4 * 203_000)
    checkpoints_s = -(-3179 // 150) * replace(BASE, vocab_size=FRENCH_VOCABULARY).parameters * 12 / 1e9
    validation_s = 2 * 2_000_000 / 203_000 / 3
    assert row.wall_s is not None
    assert row.wall_s.expected == pytest.approx(steps_s + 60 + checkpoints_s + validation_s, rel=0.01)


def test_a_price_over_whole_chains_counts_nothing_twice() -> None:
    stage = of_class(shipped("moderncamembert-bio-base"), PretrainStage)
    row = price(stage, load_cluster("jean-zay"), NoHistory())
    assert row.wall_s is not None
    assert row.wall_s.expected == pytest.approx(stage.runtime.tokens / (4 * 191_000))


def test_an_evaluation_of_known_size_has_an_upper_estimate_and_says_so() -> None:
    stage = next(stage for stage in shipped("moderncamembert-bio-base") if "emea" in stage.label)
    row = price(stage, load_cluster("jean-zay"), NoHistory())
    tokens = 4000 * 16 * 1024
    flops = training_flops_per_token(BASE, "masked", 0.0, 1024)  # without its head, of whatever vocabulary
    assert row.wall_s is not None
    assert row.wall_s.high == pytest.approx(tokens * flops / 989.4e12 / 0.05 + 180)
    assert row.wall_s.high > 20 * row.wall_s.low - 180
    assert row.source.startswith("upper estimate, 4,000 steps of 16 documents, validation left out")


def test_the_documents_of_a_split_include_validation_and_test() -> None:
    changes: dict[str, Any] = {"benchmark.tasks.chapter.epochs": 3}
    stage = of_kind(plan(make_recipe(changes)).stages, "evaluate")
    row = price(stage, load_cluster("jean-zay"), NoHistory())
    assert row.wall_s is not None
    assert "3 epochs of 10 documents" in row.source


def test_a_computing_stage_without_gpu_or_history_has_no_price() -> None:
    stages = plan(make_recipe()).stages
    prices = prices_of(stages, load_cluster("local"), NoHistory())
    unknown = {stage.kind for stage in stages if prices[stage.id].wall_s is None}
    assert unknown == {"prepare", "pretrain", "promote", "evaluate"}
    assert all(row.gpu_hours == Band(0, 0, 0) for row in prices.values()), "without a GPU there are no GPU-hours"


def test_history_takes_precedence_over_the_table() -> None:
    clm = plan(make_recipe()).stages[1]
    history = Known({work_signature(clm): Measured(60.0, 0.01, 8192, 3, 0.07)})
    row = price(clm, load_cluster("local"), history)
    assert row.wall_s == Band.around(60 + 0.01 * 8192, 0.07)
    assert row.source == "measured here, 3 stages"


def test_a_range_does_not_begin_below_0_after_very_different_times() -> None:
    clm = plan(make_recipe()).stages[1]
    history = Known({work_signature(clm): Measured(0.0, 0.01, 8192, 5, 1.5)})
    band = price(clm, load_cluster("local"), history).wall_s
    assert band is not None
    assert (band.low, band.expected, round(band.high, 6)) == (0.0, 81.92, 204.8)


def test_the_range_widens_with_the_distance_from_measured_sizes() -> None:
    clm = plan(make_recipe({"phases.clm.tokens": 81920})).stages[1]
    history = Known({work_signature(clm): Measured(60.0, 0.01, 8192, 1, 0.05)})
    row = price(clm, load_cluster("local"), history)
    assert row.wall_s == Band.around(60 + 0.01 * 81920, 0.3)
    assert row.source == "measured here, 1 stage; this stage is 10 times as large"


def test_a_corpus_is_priced_by_its_bytes() -> None:
    history = Known({"prepare": Measured(0.0, 1e-3, 2000, 1, 0.05)})
    known, unknown = (plan(make_recipe(), size).stages[0] for size in (3000, None))
    assert price(known, load_cluster("local"), history).wall_s == Band(1.0, 3.0, 5.0), "only the start-up times differ"
    assert price(unknown, load_cluster("local"), history).wall_s is None


SIGNATURES = [
    ("pretrain", "phases.clm.tokens", 16384, False),
    ("pretrain", "seeds.training", 3, False),
    ("pretrain", "phases.clm.schedule.warmup", 1024, False),
    ("pretrain", "data.sequence_length", 128, True),
    ("pretrain", "model.config.hidden_size", 64, True),
    ("pretrain", "training.precision", "bf16", True),
    ("pretrain", "phases.clm.freeze", [{"first": 0, "last": 0}], True),
    ("evaluate", "benchmark.seeds", [7], False),
    ("evaluate", "optimizer.lr", 1e-4, False),
    ("evaluate", "benchmark.tasks.chapter.epochs", 2, True),
    ("evaluate", "model.config.hidden_size", 64, True),
    ("promote", "phases.clm.tokens", 16384, False),
    ("export", "export.dtype", "float32", True),
]


@pytest.mark.parametrize(("kind", "key", "value", "differs"), SIGNATURES)
def test_stages_are_alike_if_their_work_is(kind: str, key: str, value: object, differs: bool) -> None:
    before, after = (of_kind(plan(make_recipe(changes)).stages, kind) for changes in ({}, {key: value}))
    assert (work_signature(before) != work_signature(after)) is differs


def test_the_critical_path_follows_one_chain_of_inputs() -> None:
    stages = plan(make_recipe()).stages

    def took(stage: Stage) -> float:
        return 7.0 if stage.label.endswith("seed 1") else 1.0

    prices = {stage.id: Price(stage.kind, 0, 1, Band(0.5, took(stage), 20.0), None, None, 0, 0, "") for stage in stages}
    path = critical_path_s(stages, prices)
    assert path == Band(8 * 0.5, 7 + 7.0, 8 * 20.0), "the longer of the two evaluations"


def test_disk_space_counts_checkpoints_promotions_and_exports() -> None:
    stages = shipped("moderncamembert-bio-base")
    weights = replace(BASE, vocab_size=FRENCH_VOCABULARY).parameters
    by_label = {stage.label: disk_bytes(stage) for stage in stages}
    assert by_label["pretrain clm"] == 12 * weights
    assert work_bytes(stages[1]) == 2 * 12 * weights, "two kept and one being written, less the one that stays"
    assert by_label["promote clm"] == 12 * weights
    assert by_label["export"] == 2 * weights
    assert by_label["prepare"] is None


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_the_profile_can_set_the_gpus_of_a_training(gpus: int) -> None:
    stage = shipped("moderncamembert-bio-base")[1]
    profile = load_cluster("jean-zay").model_copy(update={"training_gpus": gpus})
    assert price(stage, profile, NoHistory()).gpus == gpus
    assert price(stage, profile, NoHistory(), gpus=8).gpus == 8


def test_published_model_sizes_have_their_parameter_counts() -> None:
    assert round(BASE.parameters / 1e6) == 150
    assert round(LARGE.parameters / 1e6) == 396, "ModernBERT-large"


def test_a_causal_row_costs_less_attention_and_more_vocabulary() -> None:
    causal = training_flops_per_token(BASE, "causal", 1.0, 2382.0)
    masked = training_flops_per_token(BASE, "masked", 0.3, 2382.0)
    no_vocabulary = training_flops_per_token(BASE, "causal", 0.0, 2382.0)
    assert no_vocabulary < masked
    assert causal - no_vocabulary == pytest.approx(6 * (768**2 + 50368 * 768))


@pytest.mark.parametrize("masking_rate", [0.15, 0.3])
def test_a_masked_token_costs_less_than_a_causal_one_as_its_authors_measured(masking_rate: float) -> None:
    """218,000 tokens a second instead of 203,000, with the French vocabulary, whose causal head is cheaper."""
    shape = replace(BASE, vocab_size=FRENCH_VOCABULARY)
    context = expected_context(8192)
    masked = training_flops_per_token(shape, "masked", masking_rate, context)
    assert masked < training_flops_per_token(shape, "causal", 1.0, context)


def test_a_promotion_with_a_probe_is_longer_by_its_fine_tuning() -> None:
    task = load_recipe(RECIPES / "moderncamembert-bio-base.yaml")
    probed = task.model_copy(
        update={
            "phases": tuple(
                phase.model_copy(
                    update={"gate": Gate(probe=Probe(task=task.benchmark.tasks[0].name, least=0.1))}  # type: ignore[union-attr]
                )
                for phase in task.phases
            )
        }
    )
    cluster = load_cluster("jean-zay")
    plain, longer, evaluation = (
        estimate(of_kind(plan(recipe).stages, kind), cluster, 1).wall_s
        for recipe, kind in ((task, "promote"), (probed, "promote"), (task, "evaluate"))
    )
    assert plain is not None
    assert evaluation is not None
    assert longer == plain + evaluation
