"""Files that are written under another name and renamed: what their errors name, and what they leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detour.files import write_atomic, write_new

TOO_LONG_WITH_A_SUFFIX = "a" * 250


@pytest.mark.parametrize("write", [write_atomic, write_new])
def test_an_error_names_the_requested_file(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    path = tmp_path / TOO_LONG_WITH_A_SUFFIX
    with pytest.raises(OSError, match="File name too long") as caught:
        write(path, "content")
    assert str(caught.value.filename) == str(path)
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_the_file_of_the_first_stays(tmp_path: Path) -> None:
    write_new(tmp_path / "a", "first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", "second")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "first")]
