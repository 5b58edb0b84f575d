from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from detour.errors import UserError
from detour.evaluation.rows import read_rows
from tests.support.corpora import icd10_csv

JSON_LINES = b'{"text": "un", "label": ["a", "b"]}\n{"text": "deux", "label": []}\n'


def test_the_real_csv_is_read_whole_and_as_text() -> None:
    rows = list(read_rows(icd10_csv(), ["code", "long"]))
    assert len(rows) == 42_886
    assert rows[0] == (1, {"code": "A00", "long": "Choléra"})


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("task.jsonl", bytes),
        ("task.jsonl.gz", gzip.compress),
        ("task.jsonl.zst", zstandard.compress),
    ],
)
def test_json_lines_plain_and_compressed(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(pack(JSON_LINES))
    assert list(read_rows(path, ["text", "label"])) == [
        (1, {"text": "un", "label": ["a", "b"]}),
        (2, {"text": "deux", "label": []}),
    ]


def test_parquet_with_lists(tmp_path: Path) -> None:
    path = tmp_path / "task.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["un"], "label": [["a"]], "other": [1]}), path)
    assert list(read_rows(path, ["text", "label"])) == [(1, {"text": "un", "label": ["a"]})]


def test_csv_values_stay_text_and_may_hold_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "task.csv"
    path.write_text('code;text\n001;"two\nlines"\n;x\n')
    rows = [row for _, row in read_rows(path, ["code", "text"], separator=";")]
    assert rows == [{"code": "001", "text": "two\nlines"}, {"code": "", "text": "x"}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("task.txt", b"x", "format cannot be told"),
        ("task.csv", b"label\na\n", "'text'"),
        ("task.csv", b"text,label\na\n", "cannot be read as csv"),
        ("task.csv", b"text,label\n\xff,a\n", "cannot be read as csv"),
        ("task.csv.gz", b"not gzip", "cannot be read as csv"),
        ("task.jsonl", b'{"label": "a"}\n', "line 1 has no field 'text'"),
        ("task.jsonl", b'{"text": "a", "label": "a"}\n{"text', "line 2 is not a JSON object"),
        ("task.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("task.parquet", b"not parquet", "cannot be read as parquet"),
    ],
)
def test_an_unreadable_file_is_named_with_what_is_wrong(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as raised:
        list(read_rows(path, ["text", "label"]))
    assert str(path) in str(raised.value)
