"""Examples in the pages are valid files, and the tables of docs/recipes.md have every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from detour.config.loading import load_cluster, load_recipe
from detour.config.models import Benchmark
from detour.config.project import load_project
from detour.config.reference import recipe_reference
from detour.config.schema import field_meanings
from detour.config.training import Gate
from detour.tasks.supported import refusal

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
DATA = PAGE.with_name("data.md")


def test_the_page_contains_the_generated_reference() -> None:
    """If this fails, replace the end of the page by the output of `detour schema --markdown`."""
    assert PAGE.read_text().endswith(recipe_reference())


def test_every_key_of_the_models_is_in_a_table() -> None:
    reference = recipe_reference()
    for model in ("Recipe", "Source", "Phase", "Training", "Task", "OneMinusSqrt"):
        for key in field_meanings()[model]:
            assert f"| `{key}` |" in reference
    assert len(re.findall(r"^### ", reference, re.MULTILINE)) == 26


def test_the_example_is_a_valid_recipe(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(name: .*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "my-encoder.yaml").write_text(example)
    recipe = load_recipe(tmp_path / "my-encoder.yaml")
    assert [phase.tokens for phase in recipe.phases] == [10**10, 10**9]


def test_the_profile_of_the_clusters_page_is_valid_and_charges_its_own_project(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(extends:.*?)```", PAGE.with_name("clusters.md").read_text(), re.DOTALL)
    (tmp_path / "mine.yaml").write_text(example)
    cluster = load_cluster(tmp_path / "mine.yaml")
    assert (cluster.full_account("gpu"), cluster.full_account("cpu")) == ("abc@h100", "abc@cpu")


def test_the_project_of_the_reports_page_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(name:.*?)```", PAGE.with_name("reports.md").read_text(), re.DOTALL)
    (tmp_path / "project.yaml").write_text(example)
    project = load_project(tmp_path / "project.yaml")
    assert project is not None
    assert project.released == ("moderncamembert-bio-base",)


@pytest.mark.parametrize("page", ["data.md", "tasks.md"])
def test_the_benchmark_of_a_page_is_valid(page: str) -> None:
    (example,) = re.findall(r"```yaml\n(benchmark:.*?)```", PAGE.with_name(page).read_text(), re.DOTALL)
    (task,) = Benchmark.model_validate(yaml.safe_load(example)["benchmark"]).tasks
    assert refusal(task) is None


def test_the_gates_of_the_models_page_are_valid() -> None:
    (example,) = re.findall(r"```yaml\n(gate:.*?)```", PAGE.with_name("models.md").read_text(), re.DOTALL)
    gate = Gate.model_validate(yaml.safe_load(example)["gate"])
    assert (gate.validation_loss_drop, gate.gradient_norm and gate.gradient_norm.last) == (0.5, 100)


def test_the_data_page_names_keys_that_exist() -> None:
    known = {key for keys in field_meanings().values() for key in keys}
    named = re.findall(r"`(?:model|data|export|training|phases\[\])\.(\w+)(?:: \w+)?`", DATA.read_text())
    assert set(named) - {"safetensors"} <= known
    assert len(named) > 10
