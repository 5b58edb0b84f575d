"""Sweeps: their chains and names, what chains share, and which mistakes are reported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from detour.budgets.caps import Budget, Period, Scope
from detour.config.expansion import expand
from detour.config.loading import load_recipe
from detour.config.problems import RecipeError
from detour.config.sweep import is_sweep, load_sweep
from detour.config.sweep_file import Axis, SweepFile
from detour.planning.arithmetic import phase_steps
from tests.config.bad_recipes import BENCHMARK, GOOD
from tests.support.sweeps import load_chains

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


class Write(Protocol):
    def __call__(self, text: str, name: str = "sweep") -> Path: ...


ARMS = "arm: {cases: {clm: {}, mlm: {phases.clm: {name: mlm-30, objective: masked, masking_rate: 0.3}}}}"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a sweep next to the folder of recipes and return its path."""
    for folder in ("recipes", "benchmarks", "sweeps"):
        (tmp_path / "configs" / folder).mkdir(parents=True)
    (tmp_path / "configs" / "recipes" / "tiny.yaml").write_text(GOOD)
    (tmp_path / "configs" / "benchmarks" / "bench.yaml").write_text(BENCHMARK)
    (tmp_path / "configs" / "benchmarks" / "other.yaml").write_text(BENCHMARK.replace("name: bench", "name: other"))
    monkeypatch.chdir(tmp_path)

    def write_one(text: str, name: str = "sweep") -> Path:
        path = tmp_path / "configs" / "sweeps" / f"{name}.yaml"
        path.write_text(text)
        return path

    return write_one


HEAD = "name: s\nrecipe: ../recipes/tiny.yaml\n"


def test_a_grid_merges_its_changes_and_names_its_chains(write: Write) -> None:
    path = write(f"""{HEAD}names: "{{recipe}}-{{arm}}-{{decay}}"
axes:
  {ARMS}
  decay: {{key: phases.mlm.tokens, values: [30k, 0.06M]}}
""")
    recipes = load_chains(path)
    assert [recipe.name for recipe in recipes] == ["tiny-clm-30k", "tiny-clm-0.06m", "tiny-mlm-30k", "tiny-mlm-0.06m"]
    assert [recipe.phases[1].tokens for recipe in recipes] == [30_000, 60_000, 30_000, 60_000]
    assert [recipe.phases[0].name for recipe in recipes] == ["clm", "clm", "mlm-30", "mlm-30"]
    assert recipes[2].phases[0].tokens == 300_000


@pytest.mark.parametrize("axis", ["optimizer.lr", "recipe", "sweep", "0", "a[b", "a: b"])
def test_an_axis_may_have_any_name(write: Write, axis: str) -> None:
    path = write(f"{HEAD}axes: {{'{axis}': {{key: optimizer.lr, values: [1e-3, 2e-3]}}}}\n")
    assert [recipe.name for recipe in load_chains(path)] == ["s-0.001", "s-0.002"]


def test_an_axis_takes_precedence_in_the_template_over_what_has_its_name(write: Write) -> None:
    names = "names: '{recipe}-{optimizer.lr}'\n"
    path = write(f"""{HEAD}{names}axes:
  recipe: {{cases: {{small: {{}}, large: {{optimizer.eps: 1e-5}}}}}}
  optimizer.lr: {{key: optimizer.lr, values: [1e-3]}}
""")
    assert [recipe.name for recipe in load_chains(path)] == ["small-0.001", "large-0.001"]


def test_a_chain_equals_the_recipe_with_the_same_overrides(write: Write) -> None:
    path = write(
        f"{HEAD}axes:\n  lr: {{key: optimizer.lr, values: [1e-3, 2e-3]}}\n  b: {{key: benchmark, values: [other]}}\n"
    )
    (_, second) = load_chains(path)
    alone = load_recipe(
        Path("configs/recipes/tiny.yaml"), ["optimizer.lr=2e-3", "benchmark=other", f"name={second.name}"]
    )
    assert second == alone
    assert second.name == "s-0.002-other"


def test_chains_share_the_objects_they_have_in_common(write: Write) -> None:
    path = write(f"{HEAD}axes:\n  decay: {{key: phases.mlm.tokens, values: [30k, 60k]}}\nseeds: [1, 2]\n")
    recipes = load_chains(path)
    assert [recipe.seeds.training for recipe in recipes] == [1, 2, 1, 2]
    assert len({id(recipe.data) for recipe in recipes}) == 1
    assert len({id(recipe.phases[0]) for recipe in recipes}) == 1
    assert len({id(recipe.phases[1]) for recipe in recipes}) == 2
    assert len({id(recipe.seeds) for recipe in recipes}) == 2


def test_zip_advances_axes_together(write: Write) -> None:
    path = write(f"""{HEAD}axes:
  a: {{key: optimizer.lr, values: [1e-3, 2e-3]}}
  b: {{key: optimizer.eps, values: [1e-6, 1e-7]}}
  c: {{key: batch.sequences, values: [4, 8]}}
zip: [[a, b]]
""")
    recipes = load_chains(path)
    assert [(r.optimizer.lr, r.optimizer.eps, r.batch.sequences) for r in recipes] == [
        (1e-3, 1e-6, 4),
        (1e-3, 1e-6, 8),
        (2e-3, 1e-7, 4),
        (2e-3, 1e-7, 8),
    ]


def test_of_zipped_axes_one_can_repeat_a_value(write: Write) -> None:
    axes = "{a: {key: optimizer.lr, values: [1, 1]}, b: {key: optimizer.eps, values: [1, 2]}}"
    recipes = load_chains(write(f"{HEAD}axes: {axes}\nzip: [[a, b]]\n"))
    assert [recipe.name for recipe in recipes] == ["s-1-1", "s-1-2"]


def test_exclude_removes_chains_that_match_all_its_values(write: Write) -> None:
    path = write(f"""{HEAD}axes:
  {ARMS}
  decay: {{key: phases.mlm.tokens, values: [20k, 30k, 40k], labels: [s, m, l]}}
exclude:
  - {{arm: mlm, decay: [s, l]}}
  - {{decay: l}}
""")
    assert [recipe.name for recipe in load_chains(path)] == ["s-clm-s", "s-clm-m", "s-mlm-m"]


def test_cases_can_choose_the_recipe_and_remove_keys(write: Write) -> None:
    Path("configs/recipes/wide.yaml").write_text("extends: tiny.yaml\nname: wide\nbatch: {sequences: 16}\n")
    path = write("""name: s
names: "{m}-{b}"
axes:
  b: {cases: {with: {}, without: {benchmark: null}}}
  m: {cases: {tiny: {recipe: ../recipes/tiny.yaml}, wide: {recipe: ../recipes/wide.yaml}}}
""")
    recipes = {recipe.name: recipe for recipe in load_chains(path)}
    assert sorted(recipes) == ["tiny-with", "tiny-without", "wide-with", "wide-without"]
    assert recipes["wide-without"].batch.sequences == 16
    assert recipes["wide-without"].benchmark is None
    assert recipes["tiny-with"].benchmark is not None


@pytest.mark.parametrize("recipe", ["tiny", "quickstart"])
def test_a_sweep_can_start_from_the_name_of_its_own_or_a_shipped_recipe(write: Write, recipe: str) -> None:
    path = write(f"name: s\nrecipe: {recipe}\naxes: {{decay: {{key: phases.mlm.tokens, values: [60k]}}}}\n")
    assert [chain.name for chain in load_chains(path)] == ["s-60k"]


def test_paths_in_a_sweep_are_relative_to_it(write: Write) -> None:
    path = write(f"{HEAD}axes:\n  d: {{cases: {{own: {{data.sources.labels.path: ../own.csv}}}}}}\n")
    (recipe,) = load_chains(path)
    assert recipe.data.sources[0].path == str(Path.cwd() / "configs" / "own.csv")


def test_a_sweep_can_extend_one_in_another_folder(write: Write, tmp_path: Path) -> None:
    base = write(HEAD + "axes: {decay: {key: phases.mlm.tokens, values: [30k, 60k]}}\n")
    more, both = tmp_path / "more.yaml", tmp_path / "both.yaml"
    more.write_text(f"extends: {base}\nname: more\nseeds: [1, 2]\n")
    both.write_text(f"name: both\nsweeps: [more.yaml, {base}]\n")
    assert len(load_chains(more)) == 4
    assert len(load_chains(both)) == 6


def test_overrides_from_the_command_line_reach_every_chain(write: Write) -> None:
    path = write(f"{HEAD}axes:\n  {ARMS}\n")
    assert {recipe.training.compile for recipe in load_chains(path, ["training.compile=true"])} == {True}


@pytest.mark.parametrize(
    "axis", ["d: {key: phases.mlm.tokens, values: [30k]}", "d: {cases: {x: {phases.mlm: {tokens: 30k}}}}"]
)
@pytest.mark.parametrize("key", ["phases.mlm.tokens", " phases.mlm.tokens "])
def test_an_override_of_a_key_that_an_axis_sets_is_refused(axis: str, key: str, write: Write) -> None:
    with pytest.raises(RecipeError) as caught:
        load_chains(write(f"{HEAD}axes:\n  {axis}\n"), [f"{key}=40k"])
    assert str(caught.value) == (
        "<command line>: phases.mlm.tokens: the axis `d` of configs/sweeps/sweep.yaml sets it: change it there, or "
        "leave the override out"
    )


@pytest.mark.parametrize(
    "override", ["phases.mlm={tokens: 40k}", "phases=[{name: mlm, tokens: 40k}]", "phases={mlm: {tokens: 40k}}"]
)
def test_a_mapping_that_overrides_a_key_of_an_axis_is_refused(override: str, write: Write) -> None:
    path = write(f"{HEAD}axes: {{d: {{key: phases.mlm.tokens, values: [30k]}}}}\n")
    with pytest.raises(RecipeError, match=r"^<command line>: phases\.mlm\.tokens: the axis `d` of"):
        load_chains(path, [override])
    with pytest.raises(RecipeError, match=r"^<command line>: seeds\.training: the axis `seed` of"):
        load_chains(write(f"{HEAD}seeds: [1, 2]\n"), ["seeds={training: 3, shuffle: 4}"])


def test_an_override_by_index_does_not_hide_from_the_key_of_an_axis(write: Write) -> None:
    path = write(f"{HEAD}axes: {{d: {{key: phases.mlm.tokens, values: [30k]}}}}\n")
    with pytest.raises(RecipeError) as caught:
        load_chains(path, ["phases.1.tokens=40k"])
    assert str(caught.value) == (
        "<command line>: phases.1.tokens: an axis of configs/sweeps/sweep.yaml sets phases.mlm.tokens: "
        "write the item's name instead of its index"
    )
    for other in ("phases.clm.tokens=40k", "phases.0.tokens=40k"):
        (chain,) = load_chains(path, ["phases.1.masking_rate=0.2", other])
        assert (chain.phases[1].masking_rate, chain.phases[0].tokens) == (0.2, 40_000)


def test_a_mapping_may_override_what_is_beside_the_key_of_an_axis(write: Write) -> None:
    recipes = load_chains(write(f"{HEAD}seeds: [1, 2]\n"), ["seeds={shuffle: 4}"])
    assert [(recipe.seeds.training, recipe.seeds.shuffle) for recipe in recipes] == [(1, 4), (2, 4)]


@pytest.mark.parametrize("first", ["d", "e"])
@pytest.mark.parametrize("more", ["", "exclude: [{e: full}]\n", "zip: [[d, e]]\n"])
def test_a_case_that_sets_the_key_of_an_axis_is_refused(first: str, more: str, write: Write) -> None:
    tokens = "d: {key: phases.mlm.tokens, values: [30k, 60k]}"
    short = "e: {cases: {short: {phases.mlm: {tokens: 20k}}, full: {}}}"
    axes, line = ([tokens, short], 5) if first == "d" else ([short, tokens], 4)
    with pytest.raises(RecipeError) as caught:
        load_chains(write("\n  ".join([f"{HEAD}axes:", *axes]) + f"\n{more}"))
    assert str(caught.value) == (
        f"configs/sweeps/sweep.yaml:{line}:23: phases.mlm.tokens: the axis `d` sets it too, in every chain: "
        "keep one of them"
    )


def test_a_value_that_contains_the_key_of_an_axis_above_it_is_refused(write: Write) -> None:
    seeds, bench = "s: {cases: {one: {benchmark.seeds: [1]}}}", "b: {key: benchmark, values: [bench, other]}"
    with pytest.raises(RecipeError, match=r"sweep.yaml:4:21: benchmark\.seeds: the axis `b` sets it too"):
        load_chains(write(f"{HEAD}axes:\n  {seeds}\n  {bench}\n"))


def test_of_two_cases_the_later_one_holds(write: Write) -> None:
    path = write(
        f"{HEAD}axes:\n  size: {{cases: {{large: {{optimizer.lr: 1e-4}}}}}}\n"
        "  lr: {cases: {own: {}, low: {optimizer.lr: 1e-5}}}\n"
    )
    assert [recipe.optimizer.lr for recipe in load_chains(path)] == [1e-4, 1e-5]


def test_a_case_may_change_something_inside_the_value_of_an_axis_above_it(write: Write) -> None:
    path = write(
        f"{HEAD}axes:\n  b: {{key: benchmark, values: [bench, other]}}\n"
        "  q: {cases: {one: {benchmark.seeds: [1]}}}\n"
    )
    assert [recipe.benchmark and (recipe.benchmark.name, recipe.benchmark.seeds) for recipe in load_chains(path)] == [
        ("bench", (1,)),
        ("other", (1,)),
    ]


def test_a_phase_renamed_by_an_axis_above_is_said(write: Write) -> None:
    path = write(f"{HEAD}axes:\n  {ARMS}\n  d: {{key: phases.clm.tokens, values: [30k]}}\n")
    with pytest.raises(RecipeError) as caught:
        load_chains(path)
    assert str(caught.value) == (
        "configs/sweeps/sweep.yaml:5:7: phases.clm.tokens: `phases` has no item `clm`: another axis renames or "
        "removes it, and axes apply in the order written: write this one above it"
    )


def test_seeds_can_advance_together_with_an_axis(write: Write) -> None:
    path = write(f"{HEAD}axes: {{lr: {{key: optimizer.lr, values: [1e-3, 2e-3]}}}}\nzip: [[lr, seed]]\nseeds: [5, 6]\n")
    assert [(recipe.name, recipe.optimizer.lr, recipe.seeds.training) for recipe in load_chains(path)] == [
        ("s-0.001-5", 0.001, 5),
        ("s-0.002-6", 0.002, 6),
    ]


def test_an_override_beside_or_of_a_phase_that_a_case_removes_is_kept(write: Write) -> None:
    path = write(f"{HEAD}axes:\n  d: {{cases: {{x: {{phases.mlm: null}}, y: {{phases.mlm.masking_rate: 0.2}}}}}}\n")
    assert [len(recipe.phases) for recipe in load_chains(path, ["phases.mlm.tokens=40k"])] == [1, 2]
    assert load_chains(path, ["phases.mlm.tokens=40k"])[1].phases[1].tokens == 40_000


def test_an_extending_sweep_removes_an_axis_or_a_case_with_null(write: Write) -> None:
    write(f"{HEAD}axes:\n  {ARMS}\n  lr: {{key: optimizer.lr, values: [1e-3, 2e-3]}}\n", "base")
    path = write("extends: base.yaml\naxes: {arm: {cases: {mlm: null}}, lr: null}\n")
    assert [recipe.name for recipe in load_chains(path)] == ["s-clm"]


def test_a_sweep_of_sweeps_lists_shared_chains_once(write: Write) -> None:
    names = "names: '{recipe}-{lr}'\n"
    write(f"{HEAD}{names}axes: {{lr: {{key: optimizer.lr, values: [1e-3, 2e-3]}}}}\n", "one")
    two = f"{HEAD}{names}axes: {{lr: {{key: optimizer.lr, values: [2e-3, 3e-3]}}}}\n"
    write(two, "two")
    both = write("name: both\nsweeps: [one.yaml, two.yaml]\n", "both")
    assert [recipe.name for recipe in load_chains(both)] == ["tiny-0.001", "tiny-0.002", "tiny-0.003"]
    write(two + "seeds: [5]\n", "two")
    with pytest.raises(RecipeError, match=r"tiny-0\.002 is in another sweep too, with other settings"):
        load_chains(both)


def test_a_sweep_is_distinguished_from_a_recipe(write: Write) -> None:
    path = write(f"{HEAD}seeds: [1]\n")
    assert is_sweep(path)
    assert not is_sweep(Path("configs/recipes/tiny.yaml"))
    assert [recipe.name for recipe in load_chains(Path("configs/recipes/tiny.yaml"))] == ["tiny"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("axes: {lr: {key: optimizer.lr, values: [fast, slow]}}", 3, 'optimizer.lr: expected a number, found "fast"'),
        ("axes: {lr: {key: optimizer.lrr, values: [1]}}", 3, "optimizer.lrr: unknown key; did you mean `lr`?"),
        (
            "axes: {d: {cases: {x: {phases.mlm: {masking_rat: null}}}}}",
            3,
            "phases.mlm.masking_rat: unknown key; did you mean `masking_rate`?",
        ),
        ("axes: {d: {cases: {x: {benchmrk: null}}}}", 3, "benchmrk: unknown key; did you mean `benchmark`?"),
        ("axes: {d: {key: phases.mml.tokens, values: [1k]}}", 3, "`phases` has no item `mml`; did you mean `mlm`?"),
        ("axes: {d: {cases: {x: {phases: {cml: null}}}}}", 3, "phases: no item `cml`; did you mean `clm`?"),
        ("axes: {d: {cases: {x: {benchmark: {tasks: {b: null}}}}}}", 3, "benchmark: no item `b`; available: task"),
        ("axes: {lr: {key: optimizer.lr, values: []}}", 3, "axes.lr.values: needs at least one item"),
        ("axes: {lr: {key: optimizer.lr}}", 3, "axes.lr: `key` and `values` go together"),
        ("axes: {lr: {}}", 3, "axes.lr: give either `key` and `values`, or `cases`"),
        ("axes: {lr: {key: a, values: [1], cases: {x: {}}}}", 3, "give either `key` and `values`, or `cases`"),
        ("axes: {lr: {key: optimizer.lr, values: [1, 2], labels: [a]}}", 3, "1 labels for 2 values"),
        ("axes: {lr: {key: optimizer.lr, valeus: [1]}}", 3, "valeus: unknown key; did you mean `values`?"),
        ("axes: {a: {key: optimizer.lr, values: [1]}}\nzip: [[a, b]]", 4, "no axis `b`; available: a"),
        (
            "axes: {a: {key: optimizer.lr, values: [1]}, b: {key: optimizer.eps, values: [1, 2]}}\nzip: [[a, b]]",
            4,
            "a has 1, b has 2",
        ),
        ("axes: {arm: {key: optimizer.lr, values: [1]}}\nexclude: [{amr: 1}]", 4, "no axis `amr`; did you mean `arm`?"),
        ("axes: {arm: {key: optimizer.lr, values: [1]}}\nexclude: [{arm: 2}]", 4, "the axis has no 2; it has 1"),
        (
            "axes: {arm: {key: optimizer.lr, values: [1, 2]}}\nnames: 'x-{amr}'",
            4,
            "`{amr}` is not an axis; did you mean `arm`?",
        ),
        ("axes: {arm: {key: optimizer.lr, values: [1, 2]}}\nnames: same", 4, "two chains are called same"),
        ("axes: {arm: {key: optimizer.lr, values: [1, 2]}}\nnames: 'a b {arm}'", 4, '"a b 1" is not a name'),
        ("axes: {arm: {key: optimizer.lr, values: [1, 2]}}\nnames: 'a{'", 4, "is not a template"),
        ("axes: {arm: {key: optimizer.lr, values: [1, 2]}}\nnames: '{arm:d}'", 4, "a format of `arm` has no meaning"),
        ("axes: {arm: {key: optimizer.lr, values: [1, 2]}}\nnames: '{arm!z}'", 4, "write `{arm}`"),
        ("seeds: [1, 1]", 3, "seeds.1: `1` appears twice: seeds must be unique"),
        ("seeds: [-1]", 3, "seeds.0: must be at least 0"),
        ("axes: {m: {cases: {x: {recipe: nowhere.yaml}}}}", 3, "no such file: nowhere.yaml"),
        (
            "axes: {b: {key: benchmark, values: [bnech]}}",
            3,
            'no benchmark "bnech" in configs/benchmarks; did you mean `bench`?',
        ),
        ("sweeps: [sweep.yaml]", 3, "goes round in a circle"),
        ("sweeps: [nowhere.yaml]", 3, "sweeps.0: no such file: nowhere.yaml"),
        ("axes:\n  m: {cases: {x: {recipe: 7}}}", 4, "recipe: expected the name of a recipe file"),
        ("axes: {lr: {key: '', values: [1]}}", 3, "'' is not a key: write it as phases.mlm.tokens"),
        ("axes: {a: {cases: {x: {seeds..training: 1}}}}", 3, "'seeds..training' is not a key"),
        (
            "axes:\n  d: {key: phases.mlm.tokens, values: [1k, 1K]}",
            4,
            "axes.d.values.1: `1k` appears twice: give `labels`",
        ),
        ("axes:\n  lr: {key: optimizer.lr, values: [1, 2], labels: [x, x]}", 4, "axes.lr.labels.1: `x` appears twice"),
        ("seeds: [true]", 3, "seeds.0: expected a number, found true"),
        (
            "axes:\n  arm:\n    cases:\n      clm:\n      fast: {optimizer.lr: 1e-2}",
            6,
            "axes.arm.cases.clm: is empty: write `{}`",
        ),
        ("axes:\n  lr:\n  eps: {key: optimizer.eps, values: [1, 2]}", 4, "axes.lr: is empty: write `key` and `values`"),
        ("seeds: [1, 2]\nexclude: [{seed: [1, 2]}]", 4, "exclude: leaves out every chain"),
        ("seeds: [1, 2]\nexclude: [{}]", 4, "exclude: leaves out every chain"),
        (
            "axes:\n  a: {key: optimizer.lr, values: [1, 2]}\n  b: {key: optimizer.lr, values: [3, 4]}",
            5,
            "axes.b.key: another axis sets `optimizer.lr` too: keep one of them",
        ),
        (
            "axes:\n  a: {key: phases.clm.tokens, values: [1M]}\n  b: {key: phases.0.tokens, values: [2M]}",
            5,
            "phases.0.tokens: another axis sets phases.clm.tokens: write the item's name instead of its index",
        ),
        ("axes:\n  a: {cases: {x: {name: y}}}", 4, "name: chains have the names that `names` gives them: remove it"),
        (
            "axes: {a: {key: seeds.training, values: [1]}}\nseeds: [2]",
            4,
            "seeds: another axis sets `seeds.training` too",
        ),
        (
            "axes: {a: {key: optimizer.lr, values: [1]}}\nzip: [[a, a]]",
            4,
            "zip.0: `a` appears twice: an axis belongs to one group",
        ),
    ],
)
def test_a_bad_sweep_is_one_message(text: str, line: int, message: str, write: Write) -> None:
    with pytest.raises(RecipeError) as caught:
        load_chains(write(HEAD + text + "\n"))
    assert caught.value.problems[0].position.line == line, str(caught.value)
    assert caught.value.problems[0].position.file == "configs/sweeps/sweep.yaml"
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("phases.mlm.token", "phases.mlm.token: unknown key; did you mean `tokens`?"),
        ("phases.mml.tokens", "phases.mml.tokens: `phases` has no item `mml`; did you mean `mlm`?"),
        ("optimiser.lr", "optimiser: unknown key; did you mean `optimizer`?"),
        ("name", "name: chains have the names that `names` gives them: remove it"),
        ("phases..tokens", "phases..tokens: 'phases..tokens' is not a key: write it as phases.mlm.tokens"),
    ],
)
def test_a_wrong_key_of_an_axis_is_shown_once_where_it_is_written(key: str, message: str, write: Write) -> None:
    path = write(f"{HEAD}axes:\n  d:\n    key: {key}\n    values:\n      - 30k\n      - 60k\n      - 90k\n")
    with pytest.raises(RecipeError) as caught:
        load_chains(path)
    assert str(caught.value) == f"configs/sweeps/sweep.yaml:5:5: {message}"


def test_a_wrong_value_of_an_axis_is_shown_where_it_is_written(write: Write) -> None:
    path = write(
        f"{HEAD}axes:\n  d:\n    key: phases.mlm\n    values:\n      - {{tokens: 30k}}\n      - {{tokns: 60k}}\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_chains(path)
    assert str(caught.value) == "configs/sweeps/sweep.yaml:8:10: phases.mlm.tokns: unknown key; did you mean `tokens`?"


def test_a_sweep_without_a_recipe_is_refused(write: Write) -> None:
    with pytest.raises(RecipeError, match="recipe: is missing"):
        load_chains(write("name: s\naxes: {lr: {key: optimizer.lr, values: [1]}}\n"))


@pytest.mark.parametrize("text", ["name: s\nsweeps: [pipe.yaml]\n", "name: s\nextends: pipe.yaml\n"])
def test_a_pipe_that_a_sweep_names_is_refused_instead_of_awaited(text: str, write: Write) -> None:
    os.mkfifo("configs/sweeps/pipe.yaml")
    with pytest.raises(RecipeError, match=r"^configs/sweeps/pipe\.yaml: is a pipe: give a file$"):
        load_chains(write(text))


def test_a_mistake_in_the_recipe_is_shown_there(write: Write) -> None:
    Path("configs/recipes/tiny.yaml").write_text(GOOD.replace("300k", "ten"))
    with pytest.raises(RecipeError) as caught:
        load_chains(write(f"{HEAD}axes:\n  {ARMS}\n"))
    assert str(caught.value).startswith("configs/recipes/tiny.yaml:20:5: phases.clm.tokens")


def test_there_are_as_many_chains_as_the_axes_multiply_to_up_to_a_limit(write: Write) -> None:
    values = ", ".join(str(20_000 + n) for n in range(400))
    axes = f"  a: {{key: phases.mlm.tokens, values: [{values}]}}\n  b: {{key: phases.clm.tokens, values: [{values}]}}\n"
    with pytest.raises(RecipeError, match="multiply to 160,000 chains"):
        load_chains(write(f"{HEAD}axes:\n{axes}"))


@settings(max_examples=20, deadline=None)
@given(a=st.integers(1, 5), b=st.integers(1, 5), seeds=st.integers(0, 3))
def test_a_grid_has_every_combination_once(a: int, b: int, seeds: int) -> None:
    decays = ", ".join(str(20_000 + 1000 * n) for n in range(a))
    rates = ", ".join(str(n + 1) for n in range(b))
    text = f"axes: {{x: {{key: phases.mlm.tokens, values: [{decays}]}}, y: {{key: optimizer.lr, values: [{rates}]}}}}\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(f"name: s\nrecipe: {CONFIGS}/recipes/quickstart.yaml\n{text}seeds: {list(range(seeds))}\n")
        recipes = expand(load_sweep(path))
    points = {(recipe.phases[1].tokens, recipe.optimizer.lr, recipe.seeds.training) for recipe in recipes}
    assert len(recipes) == len(points) == len({recipe.name for recipe in recipes}) == a * b * max(seeds, 1)


@pytest.mark.parametrize("path", sorted((CONFIGS / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_sweep_expands_under_its_file_name(path: Path) -> None:
    assert is_sweep(path)
    assert load_sweep(path).name == path.stem
    assert len(load_chains(path)) >= 2


@pytest.mark.parametrize("model", [SweepFile, Axis, Budget, Scope, Period])
def test_the_page_on_sweeps_and_budgets_lists_every_key(model: type[BaseModel]) -> None:
    page = (CONFIGS.parent / "docs" / "sweeps-and-budgets.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    shown = {part for row in rows for key in quoted(row) for part in key.split(".")}
    assert set(model.model_fields) <= shown


def quoted(row: str) -> list[str]:
    """Return the text in backticks in the first cell of a table row."""
    return row.split("|")[1].split("`")[1::2]


def test_the_paper_sweep_has_the_published_experiments() -> None:
    recipes = {recipe.name: recipe for recipe in load_chains(CONFIGS / "sweeps" / "paper.yaml")}
    assert len(recipes) == 8 + 10 + 4
    experiments = {recipe.model_dump_json(exclude={"name", "description"}) for recipe in recipes.values()}
    assert len(experiments) == 19, "the published pair is in the decay sweep too, the chain without a freeze in both"
    decays = [recipe for name, recipe in recipes.items() if "-clm-decay-" in name]
    assert [phase_steps(recipe)["mlm"].steps for recipe in decays] == [80, 318, 636, 954, 1590]
    assert len({recipe.phases[0] for recipe in decays}) == 1
    frozen = recipes["moderncamembert-bio-base-freeze-clm-8-14"]
    assert [(freeze.first, freeze.last) for freeze in frozen.phases[0].freeze] == [(8, 14)]
    assert frozen.phases[1].freeze == ()
