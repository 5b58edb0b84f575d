from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.config.models import Split, Task, TaskData
from detour.errors import UserError
from detour.tasks.document import Document
from detour.tasks.loading import TaskDocuments, keep_frequent, load_task
from detour.tasks.readers.table import read_documents
from detour.tasks.repeats import merge_repeated, order_key, text_key
from detour.tasks.splits import draw, given_splits
from tests.evaluation.conftest import make_task
from tests.support.corpora import icd10_csv

DOCUMENTS = st.lists(
    st.builds(Document, st.text(" aAbBé\t", min_size=1, max_size=6), st.frozensets(st.sampled_from("xyz"), min_size=1)),
    max_size=60,
)


def make_split(train: int, validation: int, test: int, **more: Any) -> Split:
    return Split.model_validate({"train": train, "validation": validation, "test": test, **more})


@given(DOCUMENTS, st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 3), st.randoms())
def test_splits_share_no_text_and_do_not_depend_on_the_order_of_rows(
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


def test_a_seed_changes_the_draw_and_added_documents_keep_the_order_of_others() -> None:
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


def test_a_single_label_task_drops_contradictions_and_merges_repeated_rows(tmp_path: Path) -> None:
    rows = rows_of(
        ("un", "a"), ("Un ", "a"), ("deux", "a"), ("deux", "b"), ("trois", "b"), ("quatre", "b"), ("cinq", "a")
    )
    documents = load(tmp_path, rows)
    assert documents.counts["rows_merged"] == 2
    assert documents.counts["contradictory"] == 1
    assert "deux" not in {document.text for document in documents.train + documents.validation + documents.test}
    assert documents.labels == ("a", "b")


def test_a_multilabel_task_merges_the_rows_of_a_text_and_keeps_unlabelled_documents(tmp_path: Path) -> None:
    rows = rows_of(("un", "a"), ("un", "b"), ("deux", []), ("trois", ["c", "a"]), ("quatre", 5))
    documents = load(tmp_path, rows, type="multilabel")
    labels = {d.text: d.labels for d in documents.train + documents.validation + documents.test}
    assert labels == {"un": {"a", "b"}, "deux": frozenset(), "trois": {"a", "c"}, "quatre": {"5"}}
    assert documents.labels == ("5", "a", "b", "c")


def test_a_task_can_keep_only_its_most_frequent_labels_and_their_documents() -> None:
    documents = [Document(str(number), frozenset(labels)) for number, labels in enumerate(["ab", "ac", "bd", "c", "e"])]
    kept = keep_frequent(documents, 2)
    assert [sorted(document.labels) for document in kept] == [["a", "b"], ["a"], ["b"]]


def test_published_splits_are_used_and_texts_shared_between_them_counted(tmp_path: Path) -> None:
    data = {"path": "x", "split_column": "split"}
    rows = [
        {"text": text, "label": label, "split": split}
        for text, label, split in [
            ("un", "a", "train"),
            ("deux", "b", "train"),
            ("trois", "a", "validation"),
            ("un", "a", "test"),
        ]
    ]
    documents = load(tmp_path, rows, data=data, split=None)
    assert [d.text for d in documents.train] == ["un", "deux"]
    assert documents.counts["shared_texts"] == 1
    assert "1 of 1 test documents have a text that training or validation has too" in documents.notes[0]
    with pytest.raises(UserError, match="leaves test without a document"):
        load(tmp_path, rows[:3], data=data, split=None)
    with pytest.raises(UserError, match="line 1: column `split` holds 'unused'"):
        load(tmp_path, [rows[0] | {"split": "unused"}], data=data, split=None)
    spelt = {"train": "Train", "validation": "dev", "test": " testing"}
    again = load(tmp_path, [row | {"split": spelt[row["split"]]} for row in rows], data=data, split=None)
    assert [d.text for d in again.validation] == ["trois"]


def test_repeated_texts_of_an_entity_task_are_counted_by_document_and_across_splits_only(tmp_path: Path) -> None:
    def counts(*texts: tuple[str, str]) -> dict[str, int]:
        rows = [{"text": text, "entities": [[0, 2, "A"]], "split": split} for text, split in texts]
        data = {"path": "x", "reader": "spans", "split_column": "split"}
        return load(tmp_path, rows, type="ner", data=data, split=None).counts

    apart = counts(("un", "train"), ("un", "train"), ("deux", "validation"), ("deux", "validation"), ("trois", "test"))
    assert (apart["shared_texts"], apart["test_seen"]) == (0, 0)
    seen = counts(("un", "train"), ("deux", "validation"), ("un", "test"), ("un", "test"), ("trois", "test"))
    assert (seen["shared_texts"], seen["test_seen"]) == (1, 2)
    blank = counts(("un", "train"), ("\n\n", "train"), ("deux", "validation"), (" \t", "test"), ("trois", "test"))
    assert (blank["shared_texts"], blank["test_seen"]) == (0, 0)


def test_a_selection_that_matches_no_annotation_is_named(tmp_path: Path) -> None:
    rows = [{"text": text, "entities": [[0, 2, "CHEM"]]} for text in ("un", "deux", "trois", "quatre")]
    data = {"path": "x", "reader": "spans", "entity_labels": ["chem"]}
    with pytest.raises(UserError, match=r"`entity_labels` \(chem\) select nothing: no annotation has such a name"):
        load(tmp_path, rows, type="ner", data=data)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of(("un", "a"), (" ", "a")), "line 2: column `text` has no text"),
        (rows_of(("un", None)), "line 1: column `label` has no label"),
        (rows_of(("un", "a"), ("deux", "a")), "asks for 2 / 1 / 1 documents and there are 2"),
    ],
)
def test_unusable_rows_and_too_few_documents_are_reported(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, rows)


def test_a_document_of_another_split_is_refused_instead_of_left_out() -> None:
    documents = [Document("x", split=split, name=f"note {split}") for split in ("train", "validation", "test", "dev")]
    with pytest.raises(ValueError, match=r"document 'note dev' is of the split 'dev': expected one of train, val"):
        given_splits(documents)


def test_the_quickstart_task_is_read_from_the_real_file() -> None:
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
        "test_seen": 0,
    }
    assert len(documents.labels) == 20
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


VARIANTS = {
    "form": ("douleur aiguë", unicodedata.normalize("NFD", "douleur aiguë")),
    "case and spaces": ("Douleur  AIGUË\n", "douleur aiguë"),
    "apostrophe": ("l\N{RIGHT SINGLE QUOTATION MARK}examen", "l'examen"),
    "guillemets": ("dit «\N{NO-BREAK SPACE}oui\N{NO-BREAK SPACE}»", 'dit "oui"'),
    "space before a colon": ("Motif\N{NARROW NO-BREAK SPACE}: chute", "Motif: chute"),
    "dash": ("2019\N{EN DASH}2020", "2019-2020"),
    "ellipsis": ("et puis…", "et puis..."),
    "ligature": ("\N{LATIN SMALL LIGATURE FI}èvre", "fièvre"),
    "zero-width space": ("dou\N{ZERO WIDTH SPACE}leur", "douleur"),
    "soft hyphen": ("dou\N{SOFT HYPHEN}leur", "douleur"),
    "byte order mark": ("\N{ZERO WIDTH NO-BREAK SPACE}douleur", "douleur"),
}


@pytest.mark.parametrize(("one", "other"), VARIANTS.values(), ids=VARIANTS)
def test_texts_that_a_reader_cannot_tell_apart_are_one_document(one: str, other: str) -> None:
    first, second = Document(one, frozenset("a")), Document(other, frozenset("b"))
    merged = merge_repeated([first, second])
    assert [document.labels for document in merged] == [{"a", "b"}]
    assert {order_key(document.text) for document in merged + merge_repeated([second, first])} == {
        min(order_key(one), order_key(other))
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [("aigu", "aiguë"), ("stade 1", "stade 12"), ("non", "nom"), ("5 mg", "5 g")],
)
def test_texts_that_differ_in_meaning_stay_separate(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


SHAPES = [
    ("auto", [[1, 0, 0], [0, 1, 0]], "holds only zeros and ones"),
    ("auto", ["0 1 0", "1 0 0"], "holds only zeros and ones"),
    ("auto", ["['a', 'b']"], "set `label_format` to list or vector"),
    ("auto", ['{"start": 0}'], "set `label_format` to list or vector"),
    ("auto", ["a;b"], "looks like several labels"),
    ("auto", [["a", ["b"]]], "is of type list instead of a label"),
    ("auto", [[{"start": 0, "end": 5}]], "is of type object instead of a label"),
    ("auto", [1.5], "holds the number 1.5"),
    ("auto", [123456789012345678901234567890], "holds the number 1.23"),
    ("auto", ["NaN"], "holds 'NaN', no label"),
    ("auto", [" "], "has no label"),
    ("vector", [["a"]], "expects a 0 or 1 per label"),
    ("vector", [[0, 1], [0, 1, 1]], "has 3 places, those of the rows before have 2"),
    ("list", ["a"], "expects a list"),
    ("list", ["['a' 'b']"], "expects a list"),
]


@pytest.mark.parametrize(("shape", "values", "message"), SHAPES)
def test_labels_in_another_form_than_stated_are_refused(
    tmp_path: Path, shape: str, values: list[Any], message: str
) -> None:
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(*((f"texte {v}", v) for v in values))))
    data = TaskData.model_validate({"path": "x", "label_format": shape})
    with pytest.raises(UserError, match=re.escape(message)):
        list(read_documents(path, data))


@pytest.mark.parametrize(
    ("changes", "value", "labels"),
    [
        ({"label_format": "vector"}, [0, 1, 1], {"1", "2"}),
        ({"label_format": "vector"}, [0.0, 1.0], {"1"}),
        ({"label_format": "vector"}, "[1 0 1]", {"0", "2"}),
        ({"label_format": "vector"}, [0, 0], set()),
        ({"label_format": "list"}, "['a', 'b']", {"a", "b"}),
        ({"label_format": "list"}, '["a"]', {"a"}),
        ({"label_format": "list"}, "[]", set()),
        ({"label_format": "name"}, "[UNK]", {"[UNK]"}),
        ({"label_format": "name"}, "a;b", {"a;b"}),
        ({"label_separator": ";"}, "a; b;", {"a", "b"}),
        ({}, " a ", {"a"}),
        ({}, 12345678901234567890, {"12345678901234567890"}),
    ],
)
def test_labels_are_read_as_the_recipe_says(
    tmp_path: Path, changes: dict[str, Any], value: Any, labels: set[str]
) -> None:
    path = tmp_path / "task.jsonl"
    path.write_text(json.dumps({"text": "texte", "label": value}) + "\n")
    (document,) = read_documents(path, TaskData.model_validate({"path": "x", **changes}))
    assert document.labels == labels


@pytest.mark.parametrize("value", [[0, 1, 0], ["a", "b"]])
def test_several_labels_in_a_single_label_task_are_refused(tmp_path: Path, value: list[Any]) -> None:
    with pytest.raises(UserError, match=r"line 1: column `label` holds"):
        load(tmp_path, rows_of(("un", value)))


@pytest.mark.parametrize("pair", [("pos", "Pos"), ("aiguë", unicodedata.normalize("NFD", "aiguë"))])
def test_labels_that_differ_only_in_spelling_are_named(tmp_path: Path, pair: tuple[str, str]) -> None:
    rows = rows_of(*((f"texte {number}", pair[number % 2]) for number in range(8)))
    split = {"train": 6, "validation": 1, "test": 1}
    with pytest.raises(UserError, match="differ only in case, spaces or Unicode form"):
        load(tmp_path, rows, split=split)
    kept = load(tmp_path, rows, split=split, data={"path": "x", "label_format": "name"})
    assert kept.labels == tuple(sorted(pair))


@pytest.mark.parametrize("task_type", ["single_label", "multilabel"])
def test_a_task_with_a_single_class_is_refused(tmp_path: Path, task_type: str) -> None:
    rows = rows_of(*((f"texte {number}", "a") for number in range(8)))
    with pytest.raises(UserError, match="hold one label, 'a'"):
        load(tmp_path, rows, type=task_type)


def test_labels_are_counted_by_split(tmp_path: Path) -> None:
    data = {"path": "x", "split_column": "split"}
    rows = [
        {"text": f"texte {number}", "label": label, "split": split}
        for number, (label, split) in enumerate(
            [("a", "train"), ("a", "train"), ("b", "train"), ("b", "validation"), ("c", "test")]
        )
    ]
    documents = load(tmp_path, rows, data=data, split=None)
    assert documents.label_counts == {
        "a": {"train": 2, "validation": 0, "test": 0},
        "b": {"train": 1, "validation": 1, "test": 0},
        "c": {"train": 0, "validation": 0, "test": 1},
    }
    assert documents.notes == [
        "1 label is in no training document: c",
        "3 labels, with their training documents: a (2), b (1), c (0)",
    ]


def test_csv_files_and_parquet_lists_are_read(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["un", "deux"], "label": [["b", "a"], []]})
    pyarrow.parquet.write_table(table, tmp_path / "task.parquet")
    (tmp_path / "task.csv").write_text("text;label\nun;001\n", encoding="utf-8")
    data = TaskData.model_validate({"path": "x", "separator": ";"})
    lists = [document.labels for document in read_documents(tmp_path / "task.parquet", data)]
    assert lists == [{"a", "b"}, frozenset()]
    assert list(read_documents(tmp_path / "task.csv", data)) == [Document("un", frozenset({"001"}))]


def test_a_split_without_any_label_is_noted(tmp_path: Path) -> None:
    rows = [
        {"text": f"texte {number}", "label": labels, "split": split}
        for number, (labels, split) in enumerate([(["a"], "train"), (["b"], "train"), (["a"], "validation")])
    ]
    rows.append({"text": "texte", "label": [], "split": "test"})
    documents = load(tmp_path, rows, type="multilabel", data={"path": "x", "split_column": "split"}, split=None)
    assert "no test document has any label: its scores say nothing" in documents.notes
    assert not any("no validation document" in note for note in documents.notes)
