"""Scores in common files: one score a row, or a table of models by tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.errors import UserError
from detour.statistics.comparing import compare
from detour.statistics.score_files import read_scores

FIRST = '{"model": "ours", "task": "cases", "seed": 1, "value": 0.5}'
SECOND = '{"model": "ours", "task": "cases", "seed": 2, "value": 0.75}'
WIDE = """\
| Model | Ctx | cases | drugs | **Avg** |
|---|---|---|---|---|
| **[ours](https://example.org)** | 8192 | **74.8** | 60.1 ± 0.4 | **67.5** |
| theirs | 512 | 70.0 | – | 70.0 |
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "model,task,seed,metric,value\nours,cases,1,f1,0.5\nours,cases,2,f1,0.75\n"),
        ("a.csv", "\ufeffModel;Task;Seed;Score\r\nours;cases;1;0.5\r\n\r\nours;cases;2;0.75\r\n"),
        ("a.tsv", "value\tseed\ttask\tmodel\n0.5\t1\tcases\tours\n0.75\t2\tcases\tours\n"),
        ("a.json", f"[{FIRST}, {SECOND}]"),
        ("a.json", '{"ours": {"cases": {"1": 0.5, "2": 0.75}}}'),
        ("a.jsonl", f"{FIRST}\n{SECOND}\n"),
    ],
)
def test_one_score_a_row_is_read_the_same_in_every_form(tmp_path: Path, name: str, text: str) -> None:
    assert read_scores(written(tmp_path, name, text)).cells == {("ours", "cases"): {1: 50.0, 2: 75.0}}


def test_a_table_of_models_by_tasks_is_read_and_its_averages_kept_apart(tmp_path: Path) -> None:
    table = read_scores(written(tmp_path, "card.md", f"# A card\n\n{WIDE}"))
    assert table.models == ("ours", "theirs")
    assert table.tasks == ("cases", "drugs")
    assert table.cells["ours", "drugs"] == {None: 60.1}
    assert table.published == {"ours": 67.5, "theirs": 70.0}
    assert table.notes == ("column Ctx left out: it describes the models",)
    assert [str(gap) for gap in table.gaps()] == ["theirs: drugs"]


MARKED = (
    "**74.8** ± 0.4",
    "**74.8 ± 0.4**",
    "<u>74.8</u>",
    "74.8 (0.4)",
    "**74.8** (±0.4)",
    "$74.8_{0.4}$",
    "74.8†",
    "74.8*",
    "*74.8* %",
    r"\textbf{74.8}",
    r"$74.8 \pm 0.4$",
)


@pytest.mark.parametrize("cell", MARKED)
def test_marks_and_spreads_are_removed_from_a_figure(tmp_path: Path, cell: str) -> None:
    table = read_scores(
        written(tmp_path, "a.md", f"| Model | cases | drugs |\n|---|---|---|\n| ours | {cell} | 60 |\n")
    )
    assert table.cells["ours", "cases"] == {None: 74.8}


def test_an_average_that_its_scores_do_not_give_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "model,cases,drugs,avg\nours,70.0,60.0,65.4\ntheirs,70.0,60.1,65.1\n")
    assert compare(read_scores(path)).notes == ("ours: the source states an average of 65.4, its scores give 65.00",)


def test_several_metrics_need_a_choice(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "model,task,metric,value\nours,cases,f1,70\nours,cases,em,60\n")
    with pytest.raises(UserError, match=r"a.csv: several metrics \(f1, em\); choose one with --metric"):
        read_scores(path)
    assert read_scores(path, "em").cells == {("ours", "cases"): {None: 60.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,task,seed,value\nours,cases,1,good\n", "a.csv:2: value 'good' is not a number"),
        ("model,task,seed,value\nours,cases,first,70\n", "a.csv:2: seed 'first' is not a whole number"),
        (
            "model,task,seed,value\nours,cases,1,1e308\n",
            "a.csv:2: value '1e308' is not a number; expected a score such",
        ),
        ("model,task,seed,value\nours,,1,70\n", "a.csv:2: a score needs a model and a task"),
        ("model,task,seed,value\nours,cases,1,70\nours,cases,1,71\n", "a.csv: ours: cases has two scores of seed 1"),
        ("", "a.csv: no table of scores"),
        ("model,task,seed,value\n", "a.csv: no score"),
        ("model,cases\nours,good\n", "no column of scores"),
        ("model,task,value,value\nours,cases,70,71\n", "a.csv:1: the column 'value' appears twice"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_scores(written(tmp_path, "a.csv", text))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"ours": {"cases": 70, "cases": 71}}', "a.json: not JSON as scores need it (the key 'cases'"),
        ("a.jsonl", '{"model": "a", "task": "b", "value": 1}\n{"value": 1, "value": 2}\n', "a.jsonl:2: not JSON as"),
        ("a.json", f'{{"ours": {{"cases": {10**400}}}}}', "a.json:1: value '1000"),
        ("a.json", "[" * 100_000, "a.json: not JSON as scores need it (nested too deeply)"),
    ],
)
def test_a_duplicate_key_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_scores(written(tmp_path, name, text))
    assert message in str(error.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"model,task\xff\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read_scores(path)


def test_a_table_framed_by_bars_is_read_like_one_without(tmp_path: Path) -> None:
    framed = "".join(f"| {line} |\n" for line in ["---", "tags: x", "---", "", *WIDE.splitlines()])
    assert read_scores(written(tmp_path, "card.txt", framed)).cells["ours", "cases"] == {None: 74.8}


def test_a_table_can_have_a_single_task(tmp_path: Path) -> None:
    table = read_scores(written(tmp_path, "a.md", "| Model | cases |\n|---|---|\n| ours | 70 |\n| theirs | 60 |\n"))
    assert table.cells == {("ours", "cases"): {None: 70.0}, ("theirs", "cases"): {None: 60.0}}


def test_a_very_wide_table_is_read_at_once(tmp_path: Path) -> None:
    rule, row = "|---|---|" + " " * 5000 + "x", "| ours | 74.8 |"
    found = read_scores(written(tmp_path, "a.md", f"| Model | cases |\n{rule}\n\n{WIDE}\n{row}\n"))
    assert found.tasks == ("cases", "drugs")


PUBLISHED = {
    "decimal commas": "Modèle;cases;drugs;Moyenne\nours;74,8;60,1;67,5\ntheirs;70,0;50,0;60,0\n",
    "tasks by models": "Task,ours,theirs\ncases,74.8,70.0\ndrugs,60.1,50.0\nAverage,67.5,60.0\n",
    "footnotes": "Model,cases,drugs,Avg\nours,74.8<sub>0.3</sub>,60.1<sup>a</sup>,67.5\ntheirs,70.0,50.0†,60.0\n",
    "spelt average": "Model,cases,drugs,Macro avg. (2 tasks)\nours,74.8,60.1,67.5\ntheirs,70.0,50.0,60.0\n",
    "differences": "Model,cases,drugs,Avg,Gain\nours,74.8,60.1,67.5,+7.5\ntheirs,70.0,50.0,60.0,\n",
    "an average of some": "Model,cases,drugs,Avg drugs,Avg\nours,74.8,60.1,60.1,67.5\ntheirs,70.0,50.0,50.0,60.0\n",
    "descriptions": "Model,Layers,cases,drugs,Avg\nours,22,74.8,60.1,67.5\ntheirs,12,70.0,50.0,60.0\n",
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_only_columns_of_scores_are_tasks(tmp_path: Path, kind: str) -> None:
    table = read_scores(written(tmp_path, "a.csv", PUBLISHED[kind]))
    assert table.cells == {
        ("ours", "cases"): {None: 74.8},
        ("theirs", "cases"): {None: 70.0},
        ("ours", "drugs"): {None: 60.1},
        ("theirs", "drugs"): {None: 50.0},
    }
    assert table.published == {"ours": 67.5, "theirs": 60.0}


def test_a_table_can_have_a_row_for_each_model_and_seed(tmp_path: Path) -> None:
    text = "model,seed,cases,drugs,avg\nours,1,74.8,60.1,67.5\nours,2,75.0,61.0,68.0\n"
    table = read_scores(written(tmp_path, "a.csv", text))
    assert table.tasks == ("cases", "drugs")
    assert table.cells["ours", "drugs"] == {1: 60.1, 2: 61.0}
    assert table.published == {}


def test_a_decimal_comma_is_read_in_single_scores(tmp_path: Path) -> None:
    text = "model;task;seed;value\nours;cases;1;61,608\nours;cases;2;0,5\n"
    assert read_scores(written(tmp_path, "a.csv", text)).cells["ours", "cases"] == {1: 61.608, 2: 0.5}


def test_models_that_seem_to_be_on_another_scale_are_named(tmp_path: Path) -> None:
    note = "all scores of A are at most 1, others are above: are they fractions? All are points"
    assert read_scores(written(tmp_path, "a.csv", "model,x,y\nA,0.748,0.601\nB,70.1,55.2\n")).notes == (note,)
    long = "model,task,value\nA,x,0.7\nB,x,70\n"
    assert read_scores(written(tmp_path, "b.csv", long)).notes == (note,)
    untrained = "model,task,value\nA,x,0\nB,x,70\n"
    assert read_scores(written(tmp_path, "c.csv", untrained)).notes == ()


def test_a_seed_can_be_written_as_a_decimal(tmp_path: Path) -> None:
    text = "model,task,seed,value\nours,cases,42.0,0.5\nours,cases,43.0,0.6\n"
    assert read_scores(written(tmp_path, "a.csv", text)).cells["ours", "cases"] == {42: 50.0, 43: 60.0}
    with pytest.raises(UserError, match=r"a.csv:2: seed '42.5' is not a whole number"):
        read_scores(written(tmp_path, "a.csv", text.replace("42.0", "42.5")))
