from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from detour.config.models import File, Source
from detour.corpus.files import SourceError, file_format, look_into, resolve_files
from detour.errors import UserError


def test_a_pattern_gives_its_files_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", ".a.jsonl.tmp.jsonl", "c.txt", "deep/d.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    (tmp_path / "folder.jsonl").mkdir()
    assert resolve_files(File(path=f"{tmp_path}/*.jsonl")) == [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    assert resolve_files(File(path=f"{tmp_path}/**/*.jsonl"))[-1] == tmp_path / "deep/d.jsonl"


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "part[1].txt"
    path.write_text("texte")
    (tmp_path / "part1.txt").write_text("autre")
    assert resolve_files(File(path=str(path))) == [path]


def test_files_of_a_package_are_found_without_importing_it() -> None:
    script = (
        "import sys; from detour.corpus.files import resolve_files; from detour.config.models import Source;"
        "print(*resolve_files(Source(name='icd10', path='resources/cim10.csv.gz', package='edsnlp', column='long')));"
        "print(sorted({'edsnlp', 'torch', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    path, modules = done.stdout.splitlines()
    assert Path(path).is_file()
    assert modules == "[]"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "absent.jsonl"}, "absent.jsonl: no such file"),
        ({"path": "absent-*.jsonl"}, "absent-*.jsonl: no match"),
        ({"path": "."}, "a folder; give the files in it"),
        ({"path": "empty.txt"}, "empty.txt: is empty"),
        ({"path": "x.csv", "package": "no_such_package"}, "no_such_package is not installed"),
        ({"path": "../x.csv", "package": "pydantic"}, "stay inside it"),
        ({"path": "/etc/hostname", "package": "pydantic"}, "must be relative to the package"),
        ({"path": "absent.csv", "package": "pydantic"}, "absent.csv: no such file"),
    ],
)
def test_what_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    with pytest.raises(SourceError) as caught:
        resolve_files(File(**entry))
    assert message in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_fingerprints_follow_content_and_not_names(tmp_path: Path) -> None:
    for name, text in (("a", "un"), ("b", "un"), ("c", "deux")):
        (tmp_path / name).write_text(text)
    one, same, other = look_into([tmp_path / name for name in "abc"])
    assert one == same != other
    with pytest.raises(SourceError, match="cannot be read"):
        look_into([tmp_path / "d"])


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("a.jsonl", "auto", "jsonl"),
        ("a.jsonl.gz", "auto", "jsonl"),
        ("a.v2.JSONL.zst", "auto", "jsonl"),
        ("a.csv.gz", "auto", "csv"),
        ("a.parquet", "auto", "parquet"),
        ("a.txt.gz", "auto", "text"),
        ("a.data", "jsonl", "jsonl"),
    ],
)
def test_formats_are_told_by_name(name: str, given: str, expected: str) -> None:
    assert file_format(Path(name), given) == expected


def test_an_unknown_name_asks_for_the_format() -> None:
    with pytest.raises(SourceError, match="set `format`"):
        file_format(Path("corpus.gz"), "auto")


def test_a_source_is_an_entry(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("texte")
    assert resolve_files(Source(name="notes", path=f"{tmp_path}/a.txt")) == [tmp_path / "a.txt"]
