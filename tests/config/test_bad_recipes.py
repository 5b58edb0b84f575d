"""Mistakes in recipes: one message each, at its line, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from detour.config.loading import load_recipe
from detour.config.problems import RecipeError
from detour.errors import UserError
from tests.config.bad_recipes import CASES, GOOD, Bad


def test_the_recipe_that_the_cases_modify_is_valid(recipes: Path) -> None:
    recipe = load_recipe(recipes / "good.yaml")
    assert recipe.benchmark is not None
    assert recipe.benchmark.tasks[0].data is not None
    assert recipe.benchmark.tasks[0].data.path == str(recipes.parent / "benchmarks" / "labels.csv")


def test_there_are_at_least_sixty_different_cases() -> None:
    assert len(CASES) >= 60
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_mistake_is_one_message_at_its_line(case: Bad, recipes: Path) -> None:
    (recipes / "bad.yaml").write_bytes(case.content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipes / "bad.yaml")
    assert isinstance(caught.value, UserError)
    assert caught.value.exit_code == 2
    assert len(caught.value.problems) == 1, str(caught.value)
    problem = caught.value.problems[0]
    assert case.message in str(problem)
    assert problem.position.line == case.line
    assert str(problem).isprintable()
    assert len(str(problem)) < 1000
    assert "pydantic" not in str(problem)
    if case.id != "extends-a-folder":
        assert problem.position.file == "configs/recipes/bad.yaml"
    assert (problem.position.column > 0) == (case.line > 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.yaml", "no such file"), ("", "is a folder"), ("good.yaml/x.yaml", "cannot be read: Not a directory")],
)
def test_a_path_that_is_no_file_is_refused(name: str, message: str, recipes: Path) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(recipes / name)
    assert len(caught.value.problems) == 1


def test_an_unreadable_file_is_refused(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RecipeError, match=r"good\.yaml: cannot be read: Permission denied"):
        load_recipe(recipes / "good.yaml")


def test_all_problems_of_a_file_are_listed_in_order(recipes: Path) -> None:
    text = GOOD.replace("lr: 1e-3", "lr: fast").replace("300k", "ten").replace("weight: 1", "wieght: 1")
    (recipes / "bad.yaml").write_text(text.replace("name: mlm", "name: mlm\n    name: again") + "spare: ${NO_WHERE}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipes / "bad.yaml", ["training.compile=perhaps"])
    lines = [(p.position.file.rpartition("/")[2], p.position.line, p.key) for p in caught.value.problems]
    assert lines == [
        ("<command line>", 0, "training.compile"),
        ("bad.yaml", 10, "data.sources.labels.wieght"),
        ("bad.yaml", 16, "optimizer.lr"),
        ("bad.yaml", 20, "phases.clm.tokens"),
        ("bad.yaml", 23, "phases.1.name"),
        ("bad.yaml", 31, "spare"),
    ]


def test_a_cyclic_extends_shows_the_cycle(recipes: Path) -> None:
    for name, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        (recipes / f"{name}.yaml").write_text(f"extends: {parent}.yaml\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipes / "a.yaml")
    way = " -> ".join(f"configs/recipes/{name}.yaml" for name in "abca")
    assert str(caught.value) == f"configs/recipes/c.yaml:1:1: extends: goes round in a circle: {way}"


def test_an_endless_extends_is_refused(recipes: Path) -> None:
    for number in range(20):
        (recipes / f"r{number}.yaml").write_text(f"extends: r{number + 1}.yaml\n")
    with pytest.raises(RecipeError, match="more than 10 files extend one another"):
        load_recipe(recipes / "r0.yaml")


def test_a_mistake_in_the_extended_file_is_shown_there(recipes: Path) -> None:
    (recipes / "parent.yaml").write_text(GOOD.replace("300k", "ten"))
    (recipes / "child.yaml").write_text("extends: parent.yaml\nname: child\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipes / "child.yaml")
    assert str(caught.value).startswith("configs/recipes/parent.yaml:20:5: phases.clm.tokens: 'ten'")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("phases.mlm.tokns=2B", "phases.mlm.tokns: unknown key; did you mean `tokens`?"),
        ("phases.cml.tokens=2B", "`phases` has no item `cml`; did you mean `clm`?"),
        ("phases.mml.tokens=2B", "phases.mml.tokens: `phases` has no item `mml`; did you mean `mlm`?"),
        ("phases.7.tokens=2B", "phases.7.tokens: `phases` has no item `7`"),
        ("phases.mlm.tokens=lots", "phases.mlm.tokens: 'lots' is not a quantity"),
        ("name.first=x", 'name.first: `name` is "tiny": it has nothing below it'),
        ("tranining.compile=true", "tranining: unknown key; did you mean `training`?"),
        ("phases.mlm.tokens", "'phases.mlm.tokens' is not an override: write key=value"),
        ("=3", "'=3' is not an override"),
        ("phases..tokens=3", "is not an override"),
        ("seeds={training: 1", "is not a YAML value"),
        ("optimizer.lr=true", "optimizer.lr: expected a number, found true"),
        ("benchmark=benhc", "did you mean `bench`?"),
        ("model.config.num_hidden_layers=!!int x", "does not fit its tag"),
        ('description="a\\0b"', "description: holds a NUL character: remove it"),
        ("seeds=" + "[" * 50 + "]" * 50, "seeds: is nested more than 40 levels deep"),
    ],
)
def test_a_bad_override_is_one_message(override: str, message: str, recipes: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipes / "good.yaml", [override])
    assert len(caught.value.problems) == 1, str(caught.value)
    assert str(caught.value).startswith("<command line>: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["tokens-as-words", "tab", "binary", "extends-itself", "weights-sum-to-zero"])
def test_the_command_prints_the_message_and_ends_with_2(name: str, recipes: Path) -> None:
    case = next(case for case in CASES if case.id == name)
    (recipes / "bad.yaml").write_bytes(case.content)
    done = subprocess.run(
        [sys.executable, "-c", "from detour.launch.cli import main; main()", "plan", "configs/recipes/bad.yaml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=recipes.parents[1],
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert case.message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


MANY_MISTAKES = """\
name: many
modle: {}
model:
  config: {hidden_size: 32, num_hidden_layers: 3}
data:
  sources:
    - {name: a, path: a.jsonl, wieght: 3}
    - {name: a, path: b.jsonl}
  sequence_length: 64x
  validation_tokens: 2k
batch: {sequences: 8, microbatch_sequences: 16}
optimizer: {lr: fast}
phases:
  - {name: clm, objective: causal, masking_rate: 0.1, tokens: 20k, schedule: {kind: warmup_constant, warmup: 30k}}
  - {name: clm, objective: masked, tokens: 10k, schedule: {kind: cosine}, freeze: [{first: 2, last: 7}]}
  - {name: mlm, objective: masked, tokens: ten, schedule: {kind: one_minus_sqrt}}
  - {name: end, objective: masked, masking_rat: 0.15, tokens: 10k, schedule: {kind: one_minus_sqrt}}
"""


def test_mistakes_within_and_between_keys_are_shown_together(recipes: Path) -> None:
    (recipes / "many.yaml").write_text(MANY_MISTAKES, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipes / "many.yaml")
    assert [(problem.position.line, problem.key) for problem in caught.value.problems] == [
        (1, ""),  # random weights without a tokenizer
        (2, "modle"),
        (7, "data.sources.a.wieght"),
        (8, "data.sources.a"),  # twice
        (9, "data.sequence_length"),
        (11, "batch.microbatch_sequences"),
        (12, "optimizer.lr"),
        (14, "phases.clm.masking_rate"),
        (14, "phases.clm.schedule.warmup"),
        (15, "phases.clm"),  # twice
        (15, "phases.clm"),  # no masking rate
        (15, "phases.clm.schedule.kind"),
        (15, "phases.clm.freeze.0.last"),
        (16, "phases.mlm"),  # no masking rate
        (16, "phases.mlm.tokens"),
        (17, "phases.end.masking_rat"),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("config: {hidden_size: 32, num_hidden_layers: 4}", "config: [1]"),
        ("model:\n", "modle:\n"),
        ("model:\n  config: {hidden_size: 32, num_hidden_layers: 4}\ntokenizer:\n  train: {vocabulary: 4096}\n", ""),
        ("benchmark: bench", "benchmark: 5"),
        ("tokenizer:\n  train: {vocabulary: 4096}", "tokenizer: 5"),
        ("batch:\n  sequences: 8", "batch: 5"),
        ("training:\n  checkpoint_every: 10", "training: 5"),
    ],
)
def test_a_wrong_section_hides_no_mistake_between_others(old: str, new: str, recipes: Path) -> None:
    assert GOOD.count(old) == 1
    probe = "    masking_rate: 0.15\n    gate: {probe: {task: task, least: 0.5}}"
    text = GOOD.replace("name: mlm", "name: clm").replace("    masking_rate: 0.15", probe)
    (recipes / "bad.yaml").write_text(text.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipes / "bad.yaml")
    messages = [problem.message for problem in caught.value.problems]
    assert "`clm` appears twice: names must be unique" in messages
    assert len(messages) == (3 if "modle" in new else 2), messages


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_another_mistake_hides_none(case: Bad, recipes: Path) -> None:
    (recipes / "bad.yaml").write_bytes(case.content)
    with pytest.raises(RecipeError) as alone:
        load_recipe(recipes / "bad.yaml")
    with pytest.raises(RecipeError) as together:
        load_recipe(recipes / "bad.yaml", ["seeds.shuffle=first"])
    assert set(alone.value.problems) <= set(together.value.problems)
    assert len(together.value.problems) <= len(alone.value.problems) + 1
