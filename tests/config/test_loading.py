"""Syntax of a recipe file: types, extends, variables, references, overrides, paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.config.loading import (
    load_cluster,
    load_recipe,
    recipe_path,
)
from detour.config.models import Model, Seeds, WarmupConstant
from detour.config.problems import RecipeError
from detour.config.roots import config_roots
from tests.config.bad_recipes import BENCHMARK, GOOD


def written(recipes: Path, text: str) -> Path:
    path = recipes / "own.yaml"
    path.write_text(text)
    return path


def test_scalars_follow_yaml_1_2(recipes: Path) -> None:
    """`no` is text, `2e-4` is a number, `010` is ten."""
    text = GOOD.replace("name: tiny", "name: 'no'\ndescription: no").replace("1e-3", "2e-4").replace("10k", "010k")
    recipe = load_recipe(written(recipes, text))
    assert recipe.name == "no"
    assert recipe.description == "no"
    assert recipe.optimizer.lr == 2e-4
    assert recipe.data.validation_tokens == 10_000


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(recipes: Path) -> None:
    path = recipes / "own.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_recipe(path) == load_recipe(recipes / "good.yaml")


def test_extends_merges_mappings_and_lists_of_named_items(recipes: Path) -> None:
    text = """\
extends: good.yaml
name: child
optimizer: {eps: 1e-8}
phases:
  - name: mlm
    tokens: 100k
  - {name: more, objective: causal, tokens: 20k, schedule: {kind: one_minus_sqrt}}
"""
    recipe = load_recipe(written(recipes, text))
    assert recipe.name == "child"
    assert (recipe.optimizer.lr, recipe.optimizer.eps) == (1e-3, 1e-8)
    assert [(phase.name, phase.tokens) for phase in recipe.phases] == [
        ("clm", 300_000),
        ("mlm", 100_000),
        ("more", 20_000),
    ]
    assert recipe.phases[1].masking_rate == 0.15


def test_a_users_file_extends_a_shipped_one_by_name_unless_it_has_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "clusters"
    folder.mkdir(parents=True)
    mine = folder / "mine.yaml"
    mine.write_text("extends: jean-zay\nname: mine\n")
    assert load_cluster(mine).gpu_partition == load_cluster("jean-zay").gpu_partition
    (folder / "jean-zay.yaml").write_text("extends: jean-zay-a100.yaml\n")
    assert load_cluster(mine).gpu_partition == load_cluster("jean-zay-a100").gpu_partition


def test_extends_can_edit_rename_and_remove_items_by_name(recipes: Path) -> None:
    text = """\
extends: good
phases:
  clm: {name: mlm-30, objective: masked, masking_rate: 0.3}
data:
  sources:
    labels: null
    other: {path: other.csv}
"""
    recipe = load_recipe(written(recipes, text))
    assert [(phase.name, phase.masking_rate) for phase in recipe.phases] == [("mlm-30", 0.3), ("mlm", 0.15)]
    assert [source.name for source in recipe.data.sources] == ["other"]


def test_null_restores_the_default(recipes: Path) -> None:
    recipe = load_recipe(written(recipes, "extends: good.yaml\ntraining: null\nbenchmark: null\n"))
    assert recipe.training.checkpoint_every == 100
    assert recipe.benchmark is None


def test_lists_of_plain_values_are_replaced(recipes: Path) -> None:
    path = written(recipes, "extends: good.yaml\nbenchmark: {seeds: [7]}\noptimizer: {betas: [0.8, 0.9]}\n")
    recipe = load_recipe(path)
    assert recipe.benchmark is not None
    assert recipe.benchmark.seeds == (7,)
    assert [task.name for task in recipe.benchmark.tasks] == ["task"]
    assert recipe.optimizer.betas == (0.8, 0.9)


def test_another_benchmark_replaces_the_whole_benchmark(recipes: Path) -> None:
    other = BENCHMARK.replace("name: bench", "name: other").replace("name: task", "name: second")
    (recipes.parent / "benchmarks" / "other.yaml").write_text(other)
    for path, overrides in (
        (written(recipes, "extends: good.yaml\nbenchmark: other\n"), []),
        (recipes / "good.yaml", ["benchmark=other"]),
        (recipes / "good.yaml", ["benchmark=configs/benchmarks/other.yaml"]),
    ):
        recipe = load_recipe(path, overrides)
        assert recipe.benchmark is not None
        assert [task.name for task in recipe.benchmark.tasks] == ["second"]


def test_a_recipe_or_a_profile_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("extends: slurm-local\nname: mine\n")
    assert load_cluster("~/mine.yaml").name == "mine"
    assert recipe_path(Path("~/any.yaml")) == tmp_path / "any.yaml"


def test_variables_are_substituted_and_typed(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETOUR_TEST_TOKENS", "400k")
    monkeypatch.setenv("DETOUR_TEST_SEQUENCES", "4")
    monkeypatch.setenv("DETOUR_TEST_EMPTY", "")
    text = (
        GOOD.replace("300k", "${DETOUR_TEST_TOKENS}")
        .replace("sequences: 8", "sequences: ${DETOUR_TEST_SEQUENCES}")
        .replace("path: labels.csv", 'path: "${DETOUR_TEST_EMPTY:-corpus}/${DETOUR_TEST_SEQUENCES}/a.csv"')
        .replace("name: tiny", 'name: tiny\ndescription: "$${HOME} costs 5 $"')
    )
    recipe = load_recipe(written(recipes, text))
    assert recipe.phases[0].tokens == 400_000
    assert recipe.batch.sequences == 4
    assert recipe.data.sources[0].path == str(recipes / "corpus" / "4" / "a.csv")
    assert recipe.description == "${HOME} costs 5 $"


def test_paths_are_relative_to_the_file_that_has_them(recipes: Path) -> None:
    (recipes / "deep").mkdir()
    child = recipes / "deep" / "own.yaml"
    child.write_text("extends: ../good.yaml\ndata: {sources: {second: {path: ../up/*.csv}, third: {path: /a/b.csv}}}\n")
    recipe = load_recipe(child, ["data.sources.fourth={path: here.csv}"])
    paths = {source.name: source.path for source in recipe.data.sources}
    assert paths == {
        "labels": str(recipes / "labels.csv"),
        "second": str(recipes / "up" / "*.csv"),
        "third": "/a/b.csv",
        "fourth": str(recipes.parents[1] / "here.csv"),
    }


def test_package_paths_and_hub_ids_stay_as_they_are(recipes: Path) -> None:
    text = GOOD.replace("path: labels.csv", "path: data/labels.csv\n      package: edsnlp")
    text = text.replace("config: {hidden_size: 32, num_hidden_layers: 4}", "pretrained: almanach/base")
    recipe = load_recipe(written(recipes, text.replace("train: {vocabulary: 4096}", "pretrained: ./tokenizer")))
    assert recipe.data.sources[0].path == "data/labels.csv"
    assert recipe.model.pretrained == "almanach/base"
    assert recipe.tokenizer.pretrained == str(recipes / "tokenizer")


def test_a_folder_needs_no_dot_before_its_name(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipes / "mine" / "encoder").mkdir(parents=True)
    text = GOOD.replace("config: {hidden_size: 32, num_hidden_layers: 4}", "pretrained: mine/encoder")
    file = written(recipes, text.replace("train: {vocabulary: 4096}", "pretrained: runs/first/model"))
    (recipes / "elsewhere" / "mine" / "encoder").mkdir(parents=True)
    monkeypatch.chdir(recipes / "elsewhere")
    recipe = load_recipe(file)
    assert recipe.model.pretrained == str(recipes / "mine" / "encoder")
    assert recipe.tokenizer.pretrained == str(recipes / "runs" / "first" / "model")


def test_an_override_can_be_by_name_by_index_and_in_yaml(recipes: Path) -> None:
    overrides = [
        "phases.mlm.tokens=2B",
        "phases.0.tokens=1M",
        "training.compile=true",
        "optimizer.betas=[0.8, 0.9]",
        "training.loggers=[tensorboard]",
        "phases.clm.schedule.warmup=null",
        "benchmark.seeds=[5]",
        'description="a: b"',
    ]
    recipe = load_recipe(recipes / "good.yaml", overrides)
    assert [phase.tokens for phase in recipe.phases] == [10**6, 2 * 10**9]
    assert recipe.training.compile
    assert recipe.optimizer.betas == (0.8, 0.9)
    assert recipe.training.loggers == ("tensorboard",)
    assert isinstance(recipe.phases[0].schedule, WarmupConstant)
    assert recipe.phases[0].schedule.warmup == 0
    assert recipe.benchmark is not None
    assert recipe.benchmark.seeds == (5,)
    assert recipe.description == "a: b"


def test_an_override_can_replace_or_remove_a_list_item(recipes: Path) -> None:
    recipe = load_recipe(recipes / "good.yaml", ["phases.clm=null"])
    assert [phase.name for phase in recipe.phases] == ["mlm"]


def test_an_override_can_name_an_item_with_dots_in_its_name(recipes: Path) -> None:
    (recipes / "dots.yaml").write_text(GOOD.replace("- name: mlm", "- name: mlm.v1.2"))
    recipe = load_recipe(recipes / "dots.yaml", ["phases.mlm.v1.2.tokens=90k", "phases.mlm.v1.2.gate.baseline=null"])
    assert [(phase.name, phase.tokens) for phase in recipe.phases] == [("clm", 300_000), ("mlm.v1.2", 90_000)]


def test_the_last_override_wins(recipes: Path) -> None:
    assert load_recipe(recipes / "good.yaml", ["name=a", "name=b"]).name == "b"


def test_benchmarks_are_searched_next_to_the_recipe_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = tmp_path / "project" / "configs"
    far = tmp_path / "configs"
    for root, seeds in ((near, "[1]"), (far, "[2]")):
        (root / "benchmarks").mkdir(parents=True)
        (root / "recipes").mkdir()
        (root / "benchmarks" / "bench.yaml").write_text(BENCHMARK.replace("[1, 2]", seeds))
        (root / "recipes" / "good.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    for root, seeds_found in ((near, (1,)), (far, (2,))):
        recipe = load_recipe(root / "recipes" / "good.yaml")
        assert recipe.benchmark is not None
        assert recipe.benchmark.seeds == seeds_found


def test_shipped_benchmarks_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.yaml").write_text(GOOD.replace("benchmark: bench", "benchmark: icd10-chapters"))
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(Path("good.yaml"))
    assert recipe.benchmark is not None
    assert recipe.benchmark.name == "icd10-chapters"


def test_a_recipe_is_found_by_its_name(recipes: Path) -> None:
    assert recipe_path(Path("good")) == recipes / "good.yaml"


@pytest.mark.parametrize(("name", "folder"), [("quickstart", "recipes"), ("paper", "sweeps")])
def test_shipped_recipes_and_sweeps_are_found_by_name_from_anywhere(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_path(Path(name)) == config_roots()[-1] / folder / f"{name}.yaml"


def test_an_own_recipe_hides_a_shipped_one(recipes: Path) -> None:
    (recipes / "quickstart.yaml").write_text(GOOD)
    assert recipe_path(Path("quickstart")) == recipes / "quickstart.yaml"


@pytest.mark.parametrize("written", ["quickstart.yaml", "recipes/quickstart", "~/quickstart.yml"])
def test_a_path_is_not_searched_as_a_name(written: str, recipes: Path) -> None:
    del recipes
    assert recipe_path(Path(written)) == Path(written).expanduser()


def test_a_file_without_suffix_takes_precedence_over_a_name(recipes: Path) -> None:
    del recipes
    Path("quickstart").write_text(GOOD)
    assert recipe_path(Path("quickstart")) == Path("quickstart")


@pytest.mark.parametrize(("name", "hint"), [("quickstrat", "did you mean `quickstart`"), ("x" * 5000, "available: ")])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str, hint: str, recipes: Path) -> None:
    del recipes
    with pytest.raises(RecipeError, match="no such recipe or sweep") as error:
        recipe_path(Path(name))
    assert hint in str(error.value)


def test_a_name_without_its_suffix_is_answered_with_the_file_here(
    recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recipes)
    with pytest.raises(RecipeError, match=r"^god: no such recipe or sweep; did you mean `good\.yaml`\?$"):
        recipe_path(Path("god"))


def test_loading_does_not_depend_on_key_order_or_folder(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load_recipe(recipes / "good.yaml")
    monkeypatch.chdir(recipes)
    assert load_recipe(Path("good.yaml")) == here
    head, tail = GOOD.split("data:\n", 1)
    assert load_recipe(written(recipes, "data:\n" + tail + head)) == here


def test_a_changed_copy_of_a_model_has_its_own_digest() -> None:
    seeds = Seeds()
    assert seeds.model_copy(update={"training": 18}).digest == Seeds(training=18).digest != seeds.digest


def test_equal_models_have_equal_digests() -> None:
    assert (
        Model(config={"hidden_size": 8, "vocab_size": 9}).digest
        == Model(config={"vocab_size": 9, "hidden_size": 8}).digest
    )


def test_a_file_that_is_not_in_the_current_folder_may_be_meant_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RecipeError, match=r"^quickstart\.yml: no such file; did you mean `quickstart`, without \.yml\?$"
    ):
        load_recipe(recipe_path(Path("quickstart.yml")))
    with pytest.raises(RecipeError, match=r"did you mean `local`, without \.yaml\?$"):
        load_cluster("local.yaml")
    with pytest.raises(RecipeError, match=r"^nothing\.yaml: no such file$"):
        load_cluster("nothing.yaml")
