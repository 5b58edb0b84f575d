from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from detour.corpus import fingerprints as module
from detour.corpus.fingerprints import REMEMBERED_FROM_BYTES, fingerprint, fingerprints
from detour.ledger.private import keep_private

SIZE = REMEMBERED_FROM_BYTES + 1000
LONG_AGO_S = 1_700_000_000


@pytest.fixture(autouse=True)
def digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, which does not exist yet; every file counts as settled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SETTLED_AFTER_S", -1.0)
    return tmp_path / "cache" / "detour" / "digests"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(bytes(SIZE))
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return path


def expected(path: Path) -> str:
    return hashlib.sha256(str(path.stat().st_size).encode() + path.read_bytes()).hexdigest()


def overwrite(path: Path, offset: int, byte: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(byte)


def remembered(digests: Path) -> list[Path]:
    return [path for path in digests.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 5, REMEMBERED_FROM_BYTES, SIZE, 3 * REMEMBERED_FROM_BYTES])
def test_a_fingerprint_is_the_digest_of_size_and_content(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * size)
    assert fingerprint(path) == fingerprint(path) == expected(path)


@pytest.mark.parametrize("offset", [0, 1_500_000, SIZE // 2, SIZE - 1_200_000, SIZE - 1])
def test_one_edited_byte_anywhere_changes_the_fingerprint(corpus: Path, offset: int) -> None:
    before = fingerprint(corpus)
    overwrite(corpus, offset, b"x")
    assert fingerprint(corpus) == expected(corpus) != before


def test_an_edit_with_a_restored_time_stamp_changes_the_fingerprint(corpus: Path) -> None:
    before = fingerprint(corpus)
    time.sleep(0.01)
    overwrite(corpus, SIZE // 3, b"x")
    os.utime(corpus, (LONG_AGO_S, LONG_AGO_S))
    assert fingerprint(corpus) != before


def test_a_large_file_is_read_only_once(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(corpus)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert fingerprint(corpus) == before


def test_the_cache_can_be_deleted(corpus: Path, digests: Path) -> None:
    before = fingerprint(corpus)
    for path in remembered(digests):
        path.unlink()
    assert fingerprint(corpus) == before
    assert len(remembered(digests)) == 1


def test_a_damaged_cache_is_ignored(corpus: Path, digests: Path) -> None:
    before = fingerprint(corpus)
    (kept,) = remembered(digests)
    kept.write_text("nonsense")
    assert fingerprint(corpus) == before


def test_a_digest_that_others_could_have_written_is_ignored(corpus: Path, digests: Path) -> None:
    expected = fingerprint(corpus)
    (kept,) = remembered(digests)
    keep_private(str(kept), b"0" * 64)
    assert fingerprint(corpus) == "0" * 64
    kept.chmod(0o666)
    assert fingerprint(corpus) == expected


def test_a_small_file_is_not_cached(tmp_path: Path, digests: Path) -> None:
    (tmp_path / "small").write_text("texte")
    fingerprint(tmp_path / "small")
    assert not digests.exists()


def test_a_recently_written_file_is_not_cached(corpus: Path, digests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_AFTER_S", 2.0)
    fingerprint(corpus)
    assert not digests.exists()


def test_a_file_that_changes_while_it_is_read_is_not_cached(
    corpus: Path, digests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.file_digest

    def meanwhile(file: object, new: Callable[[], object]) -> object:
        overwrite(corpus, 5, b"x")
        return digest(file, new)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", meanwhile)
    fingerprint(corpus)
    assert not digests.exists()


@pytest.mark.parametrize("home", ["/proc/no-such-place", "relative"])
def test_without_a_cache_folder_the_file_is_read(corpus: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert fingerprint(corpus) == expected(corpus)


def test_several_files_are_fingerprinted_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_text(path.name)
    assert fingerprints(paths) == list(map(expected, paths))
