from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.config.models import Split, Task, TaskData
from detour.errors import UserError
from detour.evaluation.tasks import (
    Document,
    TaskDocuments,
    draw,
    keep_frequent,
    load_task,
    merge_repeated,
    read_documents,
    text_key,
)
from tests.evaluation.conftest import make_task
from tests.support.corpora import icd10_csv

DOCUMENTS = st.lists(
    st.builds(Document, st.text(" aAbBé\t", min_size=1, max_size=6), st.frozensets(st.sampled_from("xyz"), min_size=1)),
    max_size=60,
)


def make_split(train: int, validation: int, test: int, **more: Any) -> Split:
    return Split.model_validate({"train": train, "validation": validation, "test": test, **more})


@given(DOCUMENTS, st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 3), st.randoms())
def test_splits_are_disjoint_by_text_and_independent_of_the_order_of_rows(
    rows: list[Document], sizes: tuple[int, int, int], seed: int, shuffle: Any
) -> None:
    split = make_split(*sizes, seed=seed)
    documents = merge_repeated(rows)
    if len(documents) < sum(sizes):
        with pytest.raises(ValueError, match="different documents"):
            draw(documents, split)
        return
    parts = draw(documents, split)
    assert tuple(map(len, parts)) == sizes
    keys = [text_key(document.text) for part in parts for document in part]
    assert len(set(keys)) == sum(sizes)
    shuffle.shuffle(rows)
    again = draw(merge_repeated(rows), split)
    assert [[(text_key(d.text), d.labels) for d in part] for part in again] == [
        [(text_key(d.text), d.labels) for d in part] for part in parts
    ]


def test_another_seed_draws_other_documents_and_more_documents_move_none_out_of_order() -> None:
    documents = [Document(f"text {number}", frozenset("x")) for number in range(200)]
    first = draw(documents, make_split(50, 20, 20, seed=1))
    assert first[0] != draw(documents, make_split(50, 20, 20, seed=2))[0]
    assert draw(documents, make_split(60, 20, 20, seed=1))[0][:50] == first[0]


@given(st.integers(20, 200))
def test_percentages_use_every_document(number: int) -> None:
    documents = [Document(f"text {number}", frozenset("x")) for number in range(number)]
    train, validation, test = draw(documents, make_split(80, 10, 10, unit="percent"))
    assert len(train) + len(validation) + len(test) == number
    assert (len(train), len(validation)) == (number * 80 // 100, number // 10)


def load(tmp_path: Path, rows: list[dict[str, Any]], **changes: Any) -> TaskDocuments:
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_task(make_task(**{"split": {"train": 2, "validation": 1, "test": 1}} | changes), [path])


def rows_of(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in pairs]


def test_a_single_label_task_leaves_out_contradictions_and_merges_repetitions(tmp_path: Path) -> None:
    rows = rows_of(
        ("un", "a"), ("Un ", "a"), ("deux", "a"), ("deux", "b"), ("trois", "b"), ("quatre", "b"), ("cinq", "a")
    )
    documents = load(tmp_path, rows)
    assert documents.counts["rows_merged"] == 2
    assert documents.counts["contradictory"] == 1
    assert "deux" not in {document.text for document in documents.train + documents.validation + documents.test}
    assert documents.labels == ("a", "b")


def test_a_multilabel_task_adds_up_the_rows_of_a_text_and_keeps_documents_without_labels(tmp_path: Path) -> None:
    rows = rows_of(("un", "a"), ("un", "b"), ("deux", []), ("trois", ["c", "a"]), ("quatre", 5))
    documents = load(tmp_path, rows, type="multilabel")
    labels = {d.text: d.labels for d in documents.train + documents.validation + documents.test}
    assert labels == {"un": {"a", "b"}, "deux": frozenset(), "trois": {"a", "c"}, "quatre": {"5"}}
    assert documents.labels == ("5", "a", "b", "c")


def test_only_the_most_frequent_labels_and_the_documents_that_have_one() -> None:
    documents = [Document(str(number), frozenset(labels)) for number, labels in enumerate(["ab", "ac", "bd", "c", "e"])]
    kept = keep_frequent(documents, 2)
    assert [sorted(document.labels) for document in kept] == [["a", "b"], ["a"], ["b"]]


def test_the_datas_own_split_is_taken_and_shared_texts_are_counted(tmp_path: Path) -> None:
    data = {"path": "x", "split_column": "split"}
    rows = [
        {"text": text, "label": "a", "split": split}
        for text, split in [("un", "train"), ("deux", "train"), ("trois", "validation"), ("un", "test")]
    ]
    documents = load(tmp_path, rows, data=data, split=None)
    assert [d.text for d in documents.train] == ["un", "deux"]
    assert documents.counts["shared_texts"] == 1
    with pytest.raises(UserError, match="leaves test without a document"):
        load(tmp_path, rows[:3], data=data, split=None)
    with pytest.raises(UserError, match="line 1: column `split` holds 'dev'"):
        load(tmp_path, [rows[0] | {"split": "dev"}], data=data, split=None)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (rows_of(("un", "a"), (" ", "a")), "line 2: column `text` holds no text"),
        (rows_of(("un", None)), "line 1: column `label` holds no label"),
        (rows_of(("un", "a"), ("deux", "a")), "asks for 2 / 1 / 1 documents and there are 2"),
    ],
)
def test_unusable_rows_and_too_few_documents_are_told(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(tmp_path, rows)


def test_the_quickstart_task_on_the_real_file() -> None:
    """20 chapters; 14 rows repeat a text and 5 texts are in two chapters (traumatisme obstétrical, asphyxie, ...)."""
    task = icd10_task()
    documents = load_task(task, [icd10_csv()])
    assert documents.counts == {
        "train": 4000,
        "validation": 1000,
        "test": 2000,
        "rows_merged": 14,
        "contradictory": 5,
        "without_frequent_label": 0,
        "shared_texts": 0,
    }
    assert len(documents.labels) == 20
    assert documents == load_task(task, [icd10_csv()])
    keys = {text_key(d.text) for d in documents.train + documents.validation + documents.test}
    assert len(keys) == 7000


def icd10_task() -> Task:
    return make_task(
        data={
            "path": "cim10.csv.gz",
            "format": "csv",
            "text": "long",
            "label": "code",
            "label_map": "icd10_chapter",
            "exclude": {"code": "[U-Y]"},
        },
        split={"train": 4000, "validation": 1000, "test": 2000},
    )


def test_csv_and_lists_in_parquet_are_read_too(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["un", "deux"], "label": [["b", "a"], []]})
    pyarrow.parquet.write_table(table, tmp_path / "task.parquet")
    (tmp_path / "task.csv").write_text("text;label\nun;001\n", encoding="utf-8")
    data = TaskData.model_validate({"path": "x", "separator": ";"})
    lists = [document.labels for document in read_documents(tmp_path / "task.parquet", data)]
    assert lists == [{"a", "b"}, frozenset()]
    assert list(read_documents(tmp_path / "task.csv", data)) == [Document("un", frozenset({"001"}))]
