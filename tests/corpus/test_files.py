from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detour.config.fields import File
from detour.config.models import Source
from detour.corpus.files import GivenFormat, SourceError, file_format, look_into, resolve_files
from detour.errors import UserError


def test_a_pattern_matches_files_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", ".a.jsonl.tmp.jsonl", "c.txt", "deep/d.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    assert resolve_files(File(path=f"{tmp_path}/*.jsonl")) == [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    assert resolve_files(File(path=f"{tmp_path}/**/*.jsonl"))[-1] == tmp_path / "deep/d.jsonl"


def test_a_file_whose_name_looks_like_a_pattern_is_taken_literally(tmp_path: Path) -> None:
    path = tmp_path / "part[1].txt"
    path.write_text("texte")
    (tmp_path / "part1.txt").write_text("autre")
    assert resolve_files(File(path=str(path))) == [path]


def test_brackets_in_a_folder_name_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "essai[1]"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("texte")
    assert resolve_files(File(path=f"{folder}/*.txt")) == [folder / "a.txt", folder / "b.txt"]


def test_a_link_to_a_file_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").write_text("texte")
    (tmp_path / "corpus").mkdir()
    link = tmp_path / "corpus" / "a.txt"
    link.symlink_to(tmp_path / "elsewhere.txt")
    assert resolve_files(File(path=f"{tmp_path}/corpus/*.txt")) == [link]


def dangle(folder: Path) -> None:
    (folder / "part-2.txt").symlink_to(folder / "gone.txt")


def nest(folder: Path) -> None:
    (folder / "part-2.txt").mkdir()
    (folder / "part-2.txt" / "part-0.txt").write_text("texte")


def link_twice(folder: Path) -> None:
    (folder / "part-2.txt").symlink_to("part-0.txt")


def link_hard(folder: Path) -> None:
    (folder / "part-2.txt").hardlink_to(folder / "part-0.txt")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "part-2.txt")


def point(folder: Path) -> None:
    (folder / "part-2.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.parametrize(
    ("spoil", "shown"),
    [
        (dangle, "a link to .*gone.txt, which does not exist"),
        (nest, "a folder among the files of"),
        (link_twice, "the same file as .*part-0.txt"),
        (link_hard, "the same file as .*part-0.txt"),
        (pipe, "not a regular file"),
        (point, "a Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("pattern", ["*.txt", "**/part-*"])
def test_a_match_that_cannot_be_read_is_an_error(
    tmp_path: Path, spoil: Callable[[Path], None], shown: str, pattern: str
) -> None:
    for number in (0, 1):
        (tmp_path / f"part-{number}.txt").write_text("texte")
    spoil(tmp_path)
    with pytest.raises(SourceError, match=f"part-2.txt: {shown}"):
        resolve_files(File(path=f"{tmp_path}/{pattern}"))


def test_a_recursive_pattern_matches_in_subfolders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("texte")
    for pattern in ("**", "**/*"):
        assert resolve_files(File(path=f"{tmp_path}/{pattern}")) == [tmp_path / "a" / "b.txt"]


def test_a_cyclic_link_makes_no_file_be_read_twice(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("texte")
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(SourceError, match="the same file as"):
        resolve_files(File(path=f"{tmp_path}/**/*.txt"))


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("texte")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "closed")
    with pytest.raises(SourceError, match=r"closed: cannot be searched: permission denied"):
        resolve_files(File(path=f"{tmp_path}/*/*.txt"))


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
        ({"path": "absent/**"}, "absent/**: no match"),
        ({"path": "."}, "a folder; give the files in it"),
        ({"path": "empty.txt"}, "empty.txt: is empty"),
        ({"path": "x.csv", "package": "no_such_package"}, "no_such_package is not installed"),
        ({"path": "../x.csv", "package": "pydantic"}, "stay inside it"),
        ({"path": "/etc/hostname", "package": "pydantic"}, "must be relative to the package"),
        ({"path": "absent.csv", "package": "pydantic"}, "absent.csv: no such file"),
    ],
)
def test_a_missing_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    with pytest.raises(SourceError) as caught:
        resolve_files(File(**entry))
    assert message in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_fingerprints_depend_on_content_and_not_on_names(tmp_path: Path) -> None:
    for name, text in (("a", "un"), ("b", "un"), ("c", "deux")):
        (tmp_path / name).write_text(text)
    one, same, other = look_into([tmp_path / name for name in "abc"])
    assert one == same != other
    with pytest.raises(SourceError, match="cannot be read"):
        look_into([tmp_path / "d"])


def test_a_path_that_a_plan_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("texte")
    with pytest.raises(SourceError, match=r"caf\\udce9\.txt': its path has bytes that are not UTF-8: rename the file"):
        look_into([path])


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
def test_formats_are_recognized_by_name(name: str, given: GivenFormat, expected: str) -> None:
    assert file_format(Path(name), given) == expected


def test_an_unknown_suffix_asks_for_the_format() -> None:
    with pytest.raises(SourceError, match="set `format`"):
        file_format(Path("corpus.gz"), "auto")


def test_a_source_of_a_recipe_resolves_to_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("texte")
    assert resolve_files(Source(name="notes", path=f"{tmp_path}/a.txt")) == [tmp_path / "a.txt"]
