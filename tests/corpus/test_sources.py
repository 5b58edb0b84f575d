from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from detour.corpus import sources, streams
from detour.corpus.files import Quoting, SourceError
from detour.corpus.sources import Table, read_texts
from tests.support.corpora import icd10_csv, icd10_labels

TEXTS = ["Choléra", "Fièvre typhoïde,\nparatyphoïde", 'Infection dite "légère"', "", "Œdème aigu du poumon"]
Writer = Callable[[Path, list[str]], None]


def write_jsonl(path: Path, texts: list[str]) -> None:
    path.write_text(
        "".join(json.dumps({"id": i, "text": t}, ensure_ascii=i % 2 == 0) + "\n" for i, t in enumerate(texts))
    )


def write_jsonl_gz(path: Path, texts: list[str]) -> None:
    """Write it in two members, as `cat a.gz b.gz` does."""
    halves = texts[:2], texts[2:]
    path.write_bytes(
        b"".join(gzip.compress("".join(json.dumps({"text": t}) + "\n" for t in h).encode()) for h in halves)
    )


def write_jsonl_zst(path: Path, texts: list[str]) -> None:
    halves = texts[:2], texts[2:]
    path.write_bytes(
        b"".join(zstandard.compress("".join(json.dumps({"text": t}) + "\n" for t in h).encode()) for h in halves)
    )


def write_csv(path: Path, texts: list[str]) -> None:
    rows = "".join(f'{i},"{t.replace(chr(34), chr(34) * 2)}"\r\n' for i, t in enumerate(texts))
    path.write_bytes(b"\xef\xbb\xbf" + ("id,text\r\n" + rows).encode())


def write_parquet(path: Path, texts: list[str]) -> None:
    parquet.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, row_group_size=2)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", write_jsonl),
        ("a.jsonl.gz", write_jsonl_gz),
        ("a.jsonl.zst", write_jsonl_zst),
        ("a.csv", write_csv),
        ("a.parquet", write_parquet),
    ],
)
def test_every_format_gives_the_same_texts(tmp_path: Path, name: str, write: Writer) -> None:
    path = tmp_path / name
    write(path, TEXTS)
    table = Table(path, ["text"])
    assert list(read_texts(table)) == TEXTS
    assert table.position == path.stat().st_size


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_a_text_file_is_one_document(tmp_path: Path, name: str) -> None:
    text = "Première ligne\nSeconde ligne\n"
    path = tmp_path / name
    compress: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    path.write_bytes(compress.get(path.suffix, bytes)(text.encode()))
    assert list(read_texts(Table(path, ["text"]))) == [text]


STRAY_QUOTES = 'id\ttext\n1\tPremier.\n2\t"Bonjour, dit-il.\n3\tTroisième.\n4\tElle se tut."\n5\tCinquième.\n'


@pytest.mark.parametrize("name", ["a.tsv", "a.TSV", "a.tsv.gz"])
def test_quotation_marks_in_a_tsv_are_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = STRAY_QUOTES.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    texts = list(read_texts(Table(path, ["text"], separator="\t")))
    assert texts == ["Premier.", '"Bonjour, dit-il.', "Troisième.", 'Elle se tut."', "Cinquième."]


@pytest.mark.parametrize(
    ("name", "quoting", "text"),
    [("a.tsv", "double", 'un "mot"\nsuite'), ("a.csv", "auto", 'un "mot"\nsuite'), ("b.csv", "none", '"un"')],
)
def test_quoting_follows_the_recipe(tmp_path: Path, name: str, quoting: Quoting, text: str) -> None:
    quoted = text if quoting == "none" else f'"{text.replace(chr(34), chr(34) * 2)}"'
    (tmp_path / name).write_text(f"id\ttext\n1\t{quoted}\n")
    assert list(read_texts(Table(tmp_path / name, ["text"], separator="\t", quoting=quoting))) == [text]


def test_a_row_broken_by_quoting_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('id\ttext\n1\t"deux\nlignes"\n')
    with pytest.raises(SourceError, match=r"line 3: 1 fields, the header has 2; .* set `quoting: double`"):
        list(Table(path, ["text"], separator="\t"))


def test_tabs_in_a_header_without_the_column_are_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(STRAY_QUOTES)
    with pytest.raises(SourceError, match=r'no column `text`; .* set `separator: "\\t"`'):
        list(Table(path, ["text"]))


@pytest.mark.parametrize("separator", [";", "|"])
def test_another_separator_in_a_header_without_the_column_is_pointed_out(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text{separator}label\nun{separator}b\n")
    with pytest.raises(SourceError) as refused:
        list(Table(path, ["text"]))
    hint = f'for fields between `{separator}` set `separator: "{separator}"`'
    assert str(refused.value) == f"{path}: no column `text`; available: text{separator}label; {hint}"


PARTS = [b'{"text": "un"}\n', b'{"text": "deux"}\n']
EMPTY_ZSTD_FRAME = b"\x50\x2a\x4d\x18\x04\x00\x00\x00size"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("joined.jsonl.gz", b"".join(map(gzip.compress, PARTS))),
        ("joined.jsonl.zst", b"".join(map(zstandard.compress, PARTS))),
        ("pzstd.jsonl.zst", b"".join(EMPTY_ZSTD_FRAME + zstandard.compress(part) for part in PARTS)),
    ],
    ids=["gzip", "zstd", "pzstd"],  # gzip's bytes hold the time
)
def test_files_compressed_in_several_members_are_read_to_the_end(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert list(read_texts(Table(tmp_path / name, ["text"]))) == ["un", "deux"]


def test_the_icd10_labels_leave_out_what_the_recipe_excludes() -> None:
    table = Table(icd10_csv(), ["long"], exclude={"code": "[U-Y]"})
    labels = list(read_texts(table))
    assert tuple(labels) == icd10_labels()
    assert len(labels) == 15_680
    assert table.excluded == 42_886 - 15_680


def test_several_columns_come_in_the_requested_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"labels": ["A", "B"], "text": "un"}\n\n{"text": "deux", "labels": []}\n')
    assert [list(row) for row in Table(path, ["text", "labels"])] == [["un", ["A", "B"]], ["deux", []]]


def test_the_separator_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("code\ttext\nA00\tCholéra\n")
    assert list(read_texts(Table(path, ["text"], separator="\t"))) == ["Choléra"]


def test_the_position_in_the_file_grows_with_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b'{"text": "%d"}\n' % (i * 7919) for i in range(200_000)), 1))
    table = Table(path, ["text"])
    positions = [table.position for _ in read_texts(table)]
    assert positions == sorted(positions)
    assert 0 < positions[50_000] < positions[150_000] <= path.stat().st_size


def damaged(data: bytes, *, keep: float) -> bytes:
    return data[: int(len(data) * keep)]


MANY = "".join(json.dumps({"text": f"{label}"}) + "\n" for label in icd10_labels()[:2000]).encode()

BAD: list[tuple[str, bytes, str]] = [
    ("empty.jsonl.gz", gzip.compress(b""), "is empty once decompressed"),
    ("blank.jsonl", b"\n\n", "holds no row"),
    ("header.csv", b"id,text\n", "holds no row"),
    ("binary.jsonl", b'{"text": "a"}\n\x89PNG\x00\x1a', "a NUL byte at byte 18 (line 2)"),
    ("binary.txt", bytes(range(256)), "a NUL byte at byte 0"),
    ("latin1.jsonl", b'{"text": "ok"}\n{"text": "Chol\xe9ra"}\n', "not UTF-8 at byte 29 (line 2)"),
    ("latin1.csv", "text\nok\nCholéra\n".encode("latin-1"), "not UTF-8 at byte 12 (line 3)"),
    ("latin1.txt.gz", gzip.compress("Choléra".encode("latin-1")), "not UTF-8 at byte 4"),
    ("utf16.txt", "Choléra".encode("utf-16"), "NUL byte at byte 3"),
    ("cut.jsonl.gz", damaged(gzip.compress(MANY), keep=0.5), "cannot be read near byte"),
    ("cut.jsonl.zst", damaged(zstandard.compress(MANY), keep=0.5), "cannot be read near byte"),
    ("wrong.jsonl.gz", b'{"text": "a"}\n', "named .gz, but does not start as gzip does at byte 0"),
    ("wrong.jsonl.zst", gzip.compress(MANY), "named .zst, but does not start as zstd does"),
    ("broken.jsonl", b'{"text": "a"}\n{"text": "b"\n', "line 2: not JSON"),
    ("list.jsonl", b'["a"]\n', "line 1: a JSON list, expected an object"),
    ("indented.jsonl", b'[\n {"text": "a"}\n]\n', "line 1: a JSON list, expected an object in each line"),
    ("surrogate.jsonl", b'{"text": "\\ud800"}\n', "line 1: not JSON"),
    ("number.jsonl", b'{"text": "a"}\n{"text": 3}\n', "line 2: the document is a number, expected text"),
    (
        "column.jsonl",
        b'{"text": "a"}\n{"title": "b", "body": "c"}\n',
        "line 2: no column `text`; available: title, body",
    ),
    ("column.csv", b"code,long\nA,b\n", "no column `text`; available: code, long"),
    ("twice.csv", b"text,text\na,b\n", "the column `text` appears twice"),
    (
        "ragged.csv",
        b"id,text\n1,a\n2,b,c\n",
        "line 3: 3 fields, the header has 2: a field that contains `,` must be quoted",
    ),
    ("quote.csv", b'id,text\n1,"a\n2,b\n', "not CSV"),
    ("stub.parquet", b"PAR1", "not readable as parquet"),
    ("text.parquet", b"text\n" * 100, "not readable as parquet"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[name for name, *_ in BAD])
def test_unreadable_content_is_named_with_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        list(read_texts(Table(path, ["text"])))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_flipped_bit_in_gzip_is_detected(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(MANY))
    data[len(data) // 2] ^= 4
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    with pytest.raises(SourceError):
        list(read_texts(Table(tmp_path / "a.jsonl.gz", ["text"])))


def test_a_missing_or_unsuitable_parquet_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"body": ["un"], "number": [1]}), path)
    with pytest.raises(SourceError, match="no column `text`; available: body, number"):
        list(Table(path, ["text"]))
    with pytest.raises(SourceError, match="row 1: the document is a number"):
        list(read_texts(Table(path, ["number"])))


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.zst"])
def test_a_missing_package_that_a_file_needs_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceError, match=rf"{name}: reading it requires pyarrow, .* pip install pyarrow"):
        list(Table(tmp_path / name, ["text"]))


def test_a_parquet_file_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": [f"{i * 7919} {t}" for i, t in enumerate(icd10_labels())]}), path)
    data = bytearray(path.read_bytes())
    data[1000:3000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(SourceError, match="not readable as parquet"):
        list(read_texts(Table(path, ["text"])))


def test_text_files_have_no_other_columns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("texte")
    with pytest.raises(SourceError, match="no column `long`; available: text"):
        list(Table(tmp_path / "a.txt", ["long"]))


def test_endless_lines_and_documents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 100)
    (tmp_path / "a.jsonl").write_text('{"text": "' + "a" * 200)
    with pytest.raises(SourceError, match="line 1 is longer than 100 bytes"):
        list(Table(tmp_path / "a.jsonl", ["text"]))
    (tmp_path / "a.txt").write_text("ligne\n" * 50)
    with pytest.raises(SourceError, match="one document"):
        list(Table(tmp_path / "a.txt", ["text"]))


def test_bad_patterns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\na\n")
    with pytest.raises(SourceError, match=r"exclude\.text: '\(' is not a regular expression"):
        Table(path, ["text"], exclude={"text": "("})


def test_a_file_that_disappears_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        list(Table(tmp_path / "gone.jsonl", ["text"]))


def test_a_duplicate_parquet_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array(["un"]), pa.array(["deux"])], names=["text", "text"]), path)
    with pytest.raises(SourceError, match=r"a\.parquet: the column `text` appears twice"):
        list(Table(path, ["text"]))
