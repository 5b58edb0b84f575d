"""Tagged tokens, JSON spans and tables of published sets: what they give and what they refuse."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document, Entity
from detour.tasks.readers.lines import numbered_lines
from detour.tasks.readers.registry import BUILT_IN, reader_named


def read(reader: str, path: Path, content: str | bytes, type: str = "ner", **data: Any) -> list[Document]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    of_data = {"path": "x", "reader": reader, **data}
    task = Task.model_validate({"name": "t", "type": type, "data": of_data, "max_length": 64, "steps": 1})
    return list(reader_named(reader).read([path], task, Counter()))


def test_every_reader_states_what_it_expects() -> None:
    assert all(reader_named(name).layout and reader_named(name).types for name in BUILT_IN)


def test_tags_become_entities_of_sentences_or_whole_documents(tmp_path: Path) -> None:
    sentences = "la\tO\nfièvre\tB-DISO\njaune\tI-DISO\n\nle\tO\ncoeur\tB-ANAT\n"
    first, second = read("bio", tmp_path / "a.tsv", sentences)
    assert (first.text, first.entities) == ("la fièvre jaune", (Entity("DISO", ((3, 15),)),))
    assert second.text == "le coeur"
    marked = "-DOCSTART- -X- O O\r\n\r\n" + sentences.replace("\n", "\r\n").replace("\t", " N ")
    (whole,) = read("bio", tmp_path / "b.conll", "\ufeff" + marked)
    assert whole.text == "la fièvre jaune\nle coeur"
    assert whole.entities == (Entity("DISO", ((3, 15),)), Entity("ANAT", ((19, 24),)))


def test_tags_are_read_from_a_compressed_file(tmp_path: Path) -> None:
    (document,) = read("bio", tmp_path / "a.conll.gz", gzip.compress(b"\xef\xbb\xbfa\tB-X\n"))
    assert (document.text, document.entities) == ("a", (Entity("X", ((0, 1),)),))


def test_a_code_that_other_programs_write_for_none_is_no_label_of_fracco(tmp_path: Path) -> None:
    texts = [tmp_path / f"{name}.txt" for name in "ab"]
    for path in texts:
        path.write_text("Une tumeur.")
    table = tmp_path / "all.csv"
    table.write_text("doc,label,code\na.ann,expression,C50.9; nan\nb.ann,expression,NaN\n")
    task = Task.model_validate(
        {"name": "t", "type": "multilabel", "data": {"path": "x", "reader": "fracco"}, "max_length": 64, "steps": 1}
    )
    read_ones = reader_named("fracco").read([table, *texts], task, Counter())
    assert [sorted(document.labels) for document in read_ones] == [["C50.9"], []]


def test_single_and_end_tags_are_read(tmp_path: Path) -> None:
    (document,) = read("bio", tmp_path / "a.tsv", "a\tB-X\nb\tI-X\nc\tE-X\nd\tS-X\ne\tB-X\n")
    assert [entity.fragments for entity in document.entities] == [((0, 5),), ((6, 7),), ((8, 9),)]


HUB = {"info": {"features": {"ner_tags": {"feature": {"names": ["O", "B-DISO", "I-DISO"], "_type": "ClassLabel"}}}}}


def hub_parquet(path: Path, tags: list[int], features: dict[str, Any] = HUB) -> Path:
    """Write a row of three tokens as the hub's library does."""
    table = pa.table({"id": ["0"], "tokens": [["la", "fièvre", "jaune"]], "ner_tags": [tags]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    return path


def test_tokens_and_tags_of_the_hub_become_entities(tmp_path: Path) -> None:
    path = hub_parquet(tmp_path / "train.parquet", [0, 1, 2])
    (document,) = read("tokens", path, path.read_bytes())
    assert (document.text, document.entities) == ("la fièvre jaune", (Entity("DISO", ((3, 15),)),))
    rows = b'{"words": ["la", "toux"], "tags": ["O", "S-DISO"]}\n{"words": [], "tags": []}\n'
    (document,) = read("tokens", tmp_path / "a.jsonl", rows, text="words", label="tags")
    assert (document.text, document.entities) == ("la toux", (Entity("DISO", ((3, 7),)),))


@pytest.mark.parametrize(
    ("tokens", "tags", "message"),
    [
        (["a"], [1], "line 1: its tags are numbers without names"),
        (["a", "b"], ["O"], "line 1: 2 tokens and 1 tags"),
        (["a"], ["I-X"], "line 1: the tag 'I-X' continues an entity that does not end here"),
        (["a", " "], ["O", "O"], "line 1: a token is empty"),
        ("a b", ["O", "O"], "line 1: its tokens are no list of texts"),
        (["a"], None, "line 1: its tags are no list of texts"),
    ],
)
def test_a_bad_row_of_tokens_is_named(tokens: Any, tags: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read("tokens", tmp_path / "a.jsonl", json.dumps({"tokens": tokens, "ner_tags": tags}))


def test_a_number_that_the_file_does_not_name_is_refused(tmp_path: Path) -> None:
    path = hub_parquet(tmp_path / "a.parquet", [0, 1, 3])
    with pytest.raises(UserError, match="row 1: the tag 3 is none of the file's 3"):
        read("tokens", path, path.read_bytes())
    path = hub_parquet(tmp_path / "b.parquet", [0, 1, 2], {"info": []})
    with pytest.raises(UserError, match="row 1: its tags are numbers without names"):
        read("tokens", path, path.read_bytes())


@pytest.mark.parametrize("lines", ["10\u00a0000 B-NUM\nmg  O\n", "10\u00a0000\tB-NUM\nmg\tO\n"])
def test_a_token_keeps_a_space_that_does_not_break(lines: str, tmp_path: Path) -> None:
    (document,) = read("bio", tmp_path / "a.conll", lines)
    assert (document.text, document.entities) == ("10\u00a0000 mg", (Entity("NUM", ((0, 6),)),))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a\tO\nb\tI-X\n", "line 2: the tag 'I-X' continues an entity that does not end here"),
        ("a\tB-X\nb\tI-Y\n", "line 2: the tag 'I-Y' continues"),
        ("a\tB-X\n\nb\tI-X\n", "line 3: the tag 'I-X' continues"),
        ("a\tB\n", "line 1: the tag 'B' is none of"),
        ("a\n", "line 1: 'a' has no tag"),
    ],
)
def test_tags_that_are_not_iob2_are_refused_at_their_line(lines: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read("bio", tmp_path / "a.tsv", lines)
    assert f"{tmp_path / 'a.tsv'}: {message}" in str(refused.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_entities_can_be_under_label_as_in_doccano(mark: str, tmp_path: Path) -> None:
    row = {"id": 1, "text": "sous aspirine", "label": [[5, 13, "CHEM"]], "Comments": []}
    (document,) = read("spans", tmp_path / "a.jsonl", mark + json.dumps(row) + "\n")
    assert document.entities == (Entity("CHEM", ((5, 13),)),)
    both = row | {"entities": []}
    assert read("spans", tmp_path / "a.jsonl", json.dumps(both))[0].entities == ()


def test_spans_are_read_from_a_compressed_file_that_begins_with_an_empty_line(tmp_path: Path) -> None:
    rows = b'\n{"text": "le coeur", "label": [[3, 8, "ANAT"]]}\n'
    (document,) = read("spans", tmp_path / "a.jsonl.gz", gzip.compress(rows))
    assert document.entities == (Entity("ANAT", ((3, 8),)),)


@pytest.mark.parametrize("split", ["unused", "test set", 3, None])
def test_a_row_of_spans_with_another_split_is_refused_at_its_line(split: Any, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "le coeur", "entities": [], "fold": fold} for fold in ("train", split)]
    with pytest.raises(UserError) as refused:
        read("spans", tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)), split_column="fold")
    said = f"line 2: column `fold` holds {split!r}: expected one of train, training, dev, "
    assert str(refused.value).startswith(f"{tmp_path / 'a.jsonl'}: {said}")


def test_the_three_spellings_of_spans_are_read(tmp_path: Path) -> None:
    entities = [[0, 2, "A"], {"start": 3, "end": 5, "label": "B"}, {"fragments": [[6, 8], [0, 2]], "label": "C"}]
    (document,) = read("spans", tmp_path / "a.jsonl", json.dumps({"text": "aa bb cc", "entities": entities}))
    assert document.entities == (
        Entity("A", ((0, 2),)),
        Entity("B", ((3, 5),)),
        Entity("C", ((0, 2), (6, 8))),
    )
    (chosen,) = read("spans", tmp_path / "a.jsonl", (tmp_path / "a.jsonl").read_text(), entity_labels=["B"])
    assert [entity.label for entity in chosen.entities] == ["B"]


@pytest.mark.parametrize(
    ("entity", "message"),
    [
        ([0, 99, "A"], "ends at 99 and the text has 8 characters"),
        ([3, 1, "A"], "has no spans: expected whole numbers, the start before the end"),
        ([0.0, 1.0, "A"], "has no spans"),
        ([0, 1, ""], "is not an entity"),
        ("A", "is not an entity"),
        ({"fragments": [[0, 3], [2, 5]], "label": "A"}, "its fragments overlap"),
        ({"start": 0, "end": 2, "label": "A", "text": "bb"}, "the text has 'aa' there"),
    ],
)
def test_invalid_spans_are_refused_at_their_line(entity: Any, message: str, tmp_path: Path) -> None:
    rows = [{"text": "aa bb cc", "entities": []}, {"text": "aa bb cc", "entities": [entity]}]
    with pytest.raises(UserError, match="line 2") as refused:
        read("spans", tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("reader", "type", "name", "content", "message"),
    [
        ("diamed", "single_label", "train.json", "[{]", "line 1: not JSON"),
        ("diamed", "single_label", "train.json", "{}", "expected a list of cases"),
        ("diamed", "single_label", "train.json", '[{"clinical_case": "x"}]', "case 1: no `icd-10`"),
        ("fracco", "multilabel", "a.csv", "doc,label\n", "line 1: no column `code`"),
        (
            "fracco",
            "multilabel",
            "a.csv",
            "doc,label,code\nx.ann,a,b\n",
            "line 2: the text of 'x', x.txt, is not there",
        ),
        ("fracco", "multilabel", "a.csv", "doc,label,code\nx.ann,a\n", "line 2: 2 fields, the header has 3"),
        ("fracco", "multilabel", "a.txt", "text", "no CSV of annotations"),
        ("meddialog", "multilabel", "a.csv", "id,labels\n", "line 1: no column `id` between tabs"),
        ("meddialog", "multilabel", "a.csv", "id\tlabels\nx_q\t['C1']\n", "line 2: there is no text for 'x_q'"),
        ("meddialog", "multilabel", "a.csv", "id\tlabels\ttext\nx_q\tC1\ttext\n", "line 2: holds 'C1'"),
        ("meddialog", "multilabel", "a.csv", "id\tlabels\nx_q\n", "line 2: its fields are not those of the header"),
        ("meddialog", "multilabel", "a.csv", "id\ttext\nx_q\ty\n", "no file with the column `labels`"),
    ],
)
def test_tables_that_differ_from_the_published_ones_are_refused_at_their_line(
    reader: str, type: str, name: str, content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        read(reader, tmp_path / name, content, type)
    assert message in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_missing_column_of_splits_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.csv: line 1: no column `fold`; available: id, labels, split$"):
        read(
            "meddialog", tmp_path / "a.csv", "id\tlabels\tsplit\nx_q\t['C1']\ttest\n", "multilabel", split_column="fold"
        )


@pytest.mark.parametrize("text", ["un\ndeux", "un\ndeux\n", "un\r\ndeux\r\n", "\ufeffun\ndeux\n"])
def test_a_trailing_line_end_does_not_begin_another_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    assert list(numbered_lines(tmp_path / "a.txt")) == [(1, "un"), (2, "deux")]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    assert list(numbered_lines(tmp_path / "a.txt")) == []
