from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from detour.errors import UserError
from detour.orchestration.input_check import check_files
from detour.orchestration.plans import inspect_entry
from detour.planning.build import Planner
from tests.pretraining.tiny import tiny_model
from tests.support.corpora import small_tokenizer
from tests.support.recipes import make_recipe

TASK = "benchmark.tasks.chapter.data"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("text,code\n" + "".join(f"texte {n},{'AB'[n % 2]}\n" for n in range(20)))
    return path


def check(labels: Path, changes: Mapping[str, Any] | None = None) -> None:
    named = {"data.sources.labels.path": str(labels), f"{TASK}.path": str(labels)}
    check_files(Planner(inspect_entry).plan(make_recipe({**named, **(changes or {})})).stages)


def test_files_that_match_the_recipe_pass(labels: Path) -> None:
    check(labels)


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({"data.sources.labels.column": "long"}, "source labels: .*: no column `long`; available: text, code"),
        ({"data.sources.labels.separator": ";"}, "source labels: .*: no column `text`; available: text,code"),
        ({"data.sources.labels.format": "jsonl"}, "source labels: .*: line 1: not JSON"),
        ({"data.sources.labels.format": "parquet"}, "source labels: .*: not readable as parquet"),
        ({"data.sources.labels.exclude": {"kind": "x"}}, "source labels: .*: no column `kind`"),
        ({f"{TASK}.label": "label"}, "task chapter: .*: no column `label`"),
        ({f"{TASK}.label_map": "icd10_chapter"}, "task chapter: .*: line 2: 'A' is in no ICD-10 chapter"),
    ],
)
def test_problems_in_the_first_rows_are_reported(labels: Path, changes: Mapping[str, Any], output: str) -> None:
    with pytest.raises(UserError, match=output):
        check(labels, changes)


def test_every_problem_is_reported_once_for_any_number_of_stages(labels: Path) -> None:
    with pytest.raises(UserError) as caught:
        check(labels, {"data.sources.labels.column": "long", f"{TASK}.label": "label"})
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_text_column_is_answered_with_the_available_ones(labels: Path, tmp_path: Path) -> None:
    table = pyarrow.table({"body": ["un"], "title": ["deux"]})
    pyarrow.parquet.write_table(table, tmp_path / "notes.parquet")
    with pytest.raises(UserError, match=r"notes\.parquet: no column `text`; available: body, title"):
        check(labels, {"data.sources.labels.path": str(tmp_path / "notes.parquet")})


def test_files_in_the_middle_are_checked_too(labels: Path, tmp_path: Path) -> None:
    for number in range(5):
        name = "content" if number == 3 else "text"
        (tmp_path / f"part-{number}.jsonl").write_text(json.dumps({name: "texte"}) + "\n")
    with pytest.raises(UserError, match=r"part-3\.jsonl: line 1: no column `text`"):
        check(labels, {"data.sources.labels.path": str(tmp_path / "part-*.jsonl")})


def test_only_the_first_rows_are_read(labels: Path) -> None:
    with labels.open("a") as file:
        file.write('"unfinished\n')
    check(labels)


def test_missing_files_are_left_to_the_plan(labels: Path) -> None:
    check(labels, {"data.sources.labels.path": "absent.csv"})


def test_truncated_weights_are_reported(labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_model().save_pretrained(folder)
    shutil.copy(folder / "model.safetensors", tmp_path)
    check(labels, {"model": {"pretrained": str(folder)}, "tokenizer": {}})
    (folder / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(UserError, match=r"model .*model\.safetensors: cut short"):
        check(labels, {"model": {"pretrained": str(folder)}, "tokenizer": {}})


def test_weights_that_do_not_fit_are_reported_before_submission(labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_model().model.save_pretrained(folder)
    with pytest.raises(UserError, match=r"missing: decoder\.bias, .* `model\.head: new` draws a new head"):
        check(labels, {"model": {"pretrained": str(folder)}, "tokenizer": {}})
    check(labels, {"model": {"pretrained": str(folder), "head": "new"}, "tokenizer": {}})


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({"phases.mlm.freeze": [{"first": 0, "last": 4}]}, "has layers 0 to 3; pretrain mlm freezes up to layer 4"),
        ({"tokenizer": {"train": {"vocabulary": 300}}}, "knows 211 tokens, the tokenizer has 300: leave out"),
        ({"tokenizer": {"pretrained": "{tmp}/words"}}, "knows 211 tokens, the tokenizer has 261: leave out"),
    ],
)
def test_a_model_that_does_not_fit_the_recipe_is_reported(
    labels: Path, tmp_path: Path, changes: Mapping[str, Any], output: str
) -> None:
    folder = tmp_path / "model"
    tiny_model().save_pretrained(folder)
    (tmp_path / "words").mkdir()
    small_tokenizer(261).save(str(tmp_path / "words" / "tokenizer.json"))
    placed = json.loads(json.dumps(changes).replace("{tmp}", str(tmp_path)))
    with pytest.raises(UserError) as caught:
        check(labels, {"model": {"pretrained": str(folder)}, "tokenizer": {}, **placed})
    assert output in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
