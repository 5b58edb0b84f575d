"""Output files named by the user: written completely or not at all, through links, into devices."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from detour.errors import UserError
from detour.output_files import write_output, write_outputs
from tests.support.small_disk import PAGE_BYTES, mounted


def can_be_written(contents: dict[Path, bytes]) -> bool:
    try:
        write_outputs(contents, "--out")
    except UserError:
        return False
    return True


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link.html").symlink_to("kept/page.html")
    write_output(tmp_path / "link.html", "new", "--out")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "kept" / "page.html").read_text() == "new"
    assert names(tmp_path / "kept") == ["page.html"]


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    path.chmod(0o600)
    write_output(path, "new", "--out")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


def test_a_named_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, "page", "--out")
    reader.join()
    assert read == [b"page"]
    assert pipe.is_fifo()


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    for device in (Path("/dev/null"), tmp_path / "link"):
        if device.parent == tmp_path:
            device.symlink_to("/dev/null")
        write_output(device, "page", "--out")
        assert device.is_char_device()


def test_a_full_device_is_named() -> None:
    with pytest.raises(UserError, match=r"/dev/full: cannot be written \(No space left on device\); .* with --out"):
        write_output(Path("/dev/full"), "page", "--out")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("device", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_appended_to(device: str, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path; from detour.output_files import write_output
print("before", flush=True); write_output(Path({device!r}), "page\\n", "--out"); print("after")"""
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\npage\nafter\n"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(("make", "why"), [(Path.mkdir, "folder"), (lambda path: path.symlink_to(path), "circle")])
def test_an_output_that_cannot_be_written_is_refused(make: object, why: str, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "place")
    with pytest.raises(UserError, match=why):
        write_output(tmp_path / "place", "page", "--out")


def test_of_several_files_all_are_replaced_or_none(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", size_mib=2) as disk:
        old = {disk.folder / "page": b"old", disk.folder / "tables" / "a.csv": b"old"}
        new = dict(zip(old, (b"new" * PAGE_BYTES, b"new" * PAGE_BYTES), strict=True))
        write_outputs(old, "--out")
        for room in range(7 * PAGE_BYTES, -1, -PAGE_BYTES):
            disk.leave(room)
            is_written = can_be_written(new)
            assert {path: path.read_bytes() for path in old} == (new if is_written else old), room
            assert {path.name for path in disk.folder.rglob("*")} == {"page", "tables", "a.csv", "fill"}
            disk.free()
            write_outputs(old, "--out")
