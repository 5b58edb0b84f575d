"""Shipped files load, are valid under the schema, and have the published values."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from detour.config.loading import available_clusters, load_cluster, load_recipe
from detour.config.models import OneMinusSqrt, Recipe, WarmupConstant
from detour.config.problems import RecipeError
from detour.config.schema import recipe_json_schema
from detour.planning.arithmetic import phase_steps
from tests.config.bad_recipes import GOOD
from tests.support.recipes import load_benchmark

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPES = sorted((CONFIGS / "recipes").glob("*.yaml"))
FAMILIES = ["moderncamembert-bio-base", "moderncamembert-bio-large", "modernbert-bio-base", "modernbert-bio-large"]


def recipe(name: str) -> Recipe:
    return load_recipe(CONFIGS / "recipes" / f"{name}.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_under_its_file_name(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_under_its_schema(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=../recipe.schema.json\n")
    jsonschema.Draft202012Validator(committed_schema()).validate(yaml.safe_load(text))


def committed_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((CONFIGS / "recipe.schema.json").read_text())
    return schema


def test_the_committed_schema_is_current() -> None:
    """If this fails: `detour schema > configs/recipe.schema.json`."""
    assert committed_schema() == recipe_json_schema()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("training:", "trainnig:"),
        ("300k", "ten"),
        ("objective: causal", "objective: casual"),
        ("name: tiny\n", ""),
        ("0.15", "15"),
    ],
)
def test_the_schema_accepts_valid_recipes_and_finds_mistakes(old: str, new: str) -> None:
    validator = jsonschema.Draft202012Validator(recipe_json_schema())
    assert validator.is_valid(yaml.safe_load(GOOD))
    assert not validator.is_valid(yaml.safe_load(GOOD.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "is_valid"),
    [
        ("name: tiny", 'name: "${DETOUR_NOWHERE:-tiny}"', True),
        ("objective: causal", 'objective: "${DETOUR_NOWHERE:-causal}"', True),
        ("checkpoint_every: 10", 'compile: "${DETOUR_NOWHERE:-true}"', True),
        ("checkpoint_every: 10", 'loggers: ["${DETOUR_NOWHERE:-wandb}"]', True),
        ("training:\n  checkpoint_every: 10", "training:", True),
        ("checkpoint_every: 10", "checkpoint_every:", True),
        ("lr: 1e-3", 'lr: "0.001"', True),
        ("lr: 1e-3", "lr: 1k", False),
        ("weight: 1", "weight: 1M", False),
        ("benchmark: bench", "seeds: {training: 1k}", False),
        ("benchmark: bench", 'seeds: {training: "5"}', True),
        ("lr: 1e-3", "lr:", False),
        ("tokens: 60k", "tokens: 60k tokens", False),
    ],
)
def test_the_schema_and_the_loader_agree(old: str, new: str, is_valid: bool, recipes: Path) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    assert jsonschema.Draft202012Validator(recipe_json_schema()).is_valid(yaml.safe_load(text)) == is_valid
    (recipes / "one.yaml").write_text(text)
    if is_valid:
        load_recipe(recipes / "one.yaml")
    else:
        with pytest.raises(RecipeError):
            load_recipe(recipes / "one.yaml")


def test_the_schema_lets_an_extending_file_change_and_remove_items() -> None:
    validator = jsonschema.Draft202012Validator(recipe_json_schema())
    good = {"extends": "a.yaml", "phases": {"clm": {"tokens": "2B"}, "mlm": None}, "benchmark": None}
    assert validator.is_valid(good)
    assert not validator.is_valid(good | {"phases": {"clm": {"tokns": "2B"}}})


def test_the_base_recipe_has_the_published_steps() -> None:
    base = recipe("moderncamembert-bio-base")
    steps = phase_steps(base)
    assert base.step_tokens == 3_145_728
    assert [steps[name].steps for name in ("clm", "mlm")] == [3179, 318]
    assert steps["clm"].warmup_steps == math.ceil(100e6 / 3_145_728) == 32


def test_the_base_recipe_has_the_published_values() -> None:
    base = recipe("moderncamembert-bio-base")
    clm, mlm = base.phases
    assert base.model.pretrained == "almanach/moderncamembert-base"
    assert base.optimizer.lr == 2e-4
    assert base.optimizer.betas == (0.9, 0.98)
    assert base.optimizer.eps == 1e-6
    assert base.optimizer.weight_decay == 1e-5
    assert clm.objective == "causal"
    assert clm.tokens == 10**10
    assert clm.masking_rate is None
    assert clm.schedule == WarmupConstant(kind="warmup_constant", warmup=10**8)
    assert mlm.objective == "masked"
    assert mlm.tokens == 10**9
    assert mlm.masking_rate == 0.15
    assert mlm.schedule == OneMinusSqrt(kind="one_minus_sqrt", floor=0.1)
    assert mlm.carry == "weights+optimizer"
    assert (base.batch.sequences, base.data.sequence_length) == (384, 8192)
    assert (base.seeds.training, base.seeds.shuffle) == (17, 42)
    assert {source.name: source.weight for source in base.data.sources} == {
        "mc-bio": 70,
        "mcqa": 20,
        "e3c": 4,
        "emea": 6,
    }
    assert base.export.dtype == "bfloat16"


@pytest.mark.parametrize("family", [*FAMILIES, "quickstart"])
def test_the_twin_differs_only_in_the_objective_of_phase_1(family: str) -> None:
    ours, twin = recipe(family), recipe(f"{family}-mlm-baseline")
    assert (twin.phases[0].objective, twin.phases[0].masking_rate) == ("masked", 0.30)
    changed = {"name", "description", "phases"}
    assert ours.model_dump(exclude=changed) == twin.model_dump(exclude=changed)
    of_phase = {"name", "objective", "masking_rate"}
    assert ours.phases[0].model_dump(exclude=of_phase) == twin.phases[0].model_dump(exclude=of_phase)
    assert ours.phases[1] == twin.phases[1]


def test_the_sizes_differ_only_in_the_model_and_its_memory() -> None:
    for language in ("moderncamembert-bio", "modernbert-bio"):
        base, large = recipe(f"{language}-base"), recipe(f"{language}-large")
        assert base.data == large.data
        assert base.phases == large.phases
        assert base.optimizer == large.optimizer
        assert base.batch.sequences == large.batch.sequences
        assert base.model != large.model


def test_corpora_follow_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETOUR_CORPORA", "/data/corpora")
    assert recipe("moderncamembert-bio-base").data.sources[0].path == "/data/corpora/mc-bio/*.jsonl.zst"


def test_the_quickstart_names_existing_columns_of_its_package() -> None:
    source = recipe("quickstart").data.sources[0]
    assert source.package == "edsnlp"
    package = find_spec(source.package)
    assert package is not None
    assert package.origin is not None
    with gzip.open(Path(package.origin).parent / source.path, "rt", encoding="utf-8") as text:
        columns = text.readline().strip().split(source.separator)
    assert {source.column, *source.exclude} <= set(columns)
    benchmark = recipe("quickstart").benchmark
    assert benchmark is not None
    data = benchmark.tasks[0].data
    assert data is not None
    assert {data.text, data.label, *data.exclude} <= set(columns)


def test_the_french_benchmark_has_eight_tasks_and_nine_seeds() -> None:
    benchmark = load_benchmark(CONFIGS / "benchmarks" / "french-biomedical.yaml")
    assert benchmark.seeds == tuple(range(42, 51))
    lengths = {task.name: (task.type, task.max_length) for task in benchmark.tasks}
    assert lengths == {
        "diamed": ("single_label", 2048),
        "meddialog-fr": ("multilabel", 4096),
        "fracco-30": ("multilabel", 4096),
        "fracco-100": ("multilabel", 4096),
        "cantemist-fr": ("multilabel", 4096),
        "distemist-fr": ("multilabel", 4096),
        "emea": ("ner", 1024),
        "medline": ("ner", 1024),
    }
    assert all((task.epochs, task.lr, task.batch_sequences) == (15, 2e-5, 4) for task in benchmark.tasks[:6])
    assert all((task.steps, task.lr, task.head_lr) == (4000, 5e-5, 1e-3) for task in benchmark.tasks[6:])


@pytest.mark.parametrize("path", sorted((CONFIGS / "clusters").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_cluster_loads_under_its_file_name(path: Path) -> None:
    assert path.stem in available_clusters()
    assert load_cluster(path.stem).name == path.stem
    assert load_cluster(path) == load_cluster(path.stem)


def test_loading_imports_nothing_heavy() -> None:
    code = "import sys, detour.config.loading; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"torch", "transformers", "numpy", "composer", "submitit", "codecarbon", "rich", "click"})
