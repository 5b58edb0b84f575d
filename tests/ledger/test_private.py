"""Cache files are the user's own, whole and bounded, and depend on the installed code."""

from __future__ import annotations

import multiprocessing
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import detour
from detour.ledger import private
from detour.ledger.private import CODE, code_version, keep_private, private_file, read_private, stamp_of

READERS = (
    "detour.launch.quick",
    "detour.launch.text.status",
    "detour.monitoring.monitor",
    "detour.monitoring.jobs",
    "detour.ledger.view",
    "detour.reporting.output_cache",
    "detour.forecasting.own_history",
)
"""Modules that use a cache."""


@pytest.fixture
def path(node_folder: Path) -> Path:  # noqa: ARG001
    path = Path(private_file("/workspace", "state.json"))
    keep_private(str(path), b"a value")
    return path


def test_folder_and_files_are_closed_to_others_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        keep_private(str(path), b"another value")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_private(str(path)) == b"another value"


def test_a_changed_or_missing_byte_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for place in range(len(content)):
        for damaged in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="damaged"):
                read_private(str(path))


def test_a_link_and_a_file_that_others_can_open_are_refused(path: Path) -> None:
    path.chmod(0o620)
    with pytest.raises(OSError, match="not private"):
        read_private(str(path))
    path.chmod(0o600)
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))
    with pytest.raises(OSError, match="symbolic link"):
        read_private(str(path))


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: uid)
    with pytest.raises(OSError, match="not private"):
        read_private(str(path))


def test_a_folder_that_another_user_prepared_is_refused(node_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, uid = node_folder / "elsewhere", os.getuid() + 1
    elsewhere.mkdir(0o700)
    link = node_folder / f"detour-cache-{os.getuid()}"
    link.symlink_to(elsewhere)
    with pytest.raises(OSError, match="not private"):
        private_file("/workspace", "state.json")
    (node_folder / f"detour-cache-{uid}").mkdir(0o700)
    monkeypatch.setattr(os, "getuid", lambda: uid)
    with pytest.raises(OSError, match="not private"):
        private_file("/workspace", "state.json")


def test_without_room_the_last_value_stays_and_nothing_is_left_behind(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        keep_private(str(path), b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_private(str(path)) == b"a value"
    assert list(path.parent.iterdir()) == [path]


def test_the_oldest_files_are_removed_when_there_are_too_many(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_a_kill = path.with_name(f"{path.name}.0a1b2c3d")
    left_by_a_kill.write_bytes(b"half")
    os.utime(left_by_a_kill, (1, 1))
    os.utime(path, (2, 2))
    monkeypatch.setattr(private, "MOST_FILES", 2)
    other = Path(private_file("/other", "state.json"))
    keep_private(str(other), b"x")
    assert set(path.parent.iterdir()) == {path, other}
    monkeypatch.setattr(private, "MOST_BYTES", 20)
    keep_private(str(other), b"y" * 10)
    assert set(path.parent.iterdir()) == {other}


def write_often(path: Path, letter: bytes) -> None:
    for _ in range(100):
        keep_private(str(path), letter * 50_000)


def test_while_two_processes_write_a_whole_value_is_read(path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_often, args=(path, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    values = {read_private(str(path)) for _ in range(200)}
    for writer in writers:
        writer.join()
    assert values <= {b"a value", b"a" * 50_000, b"b" * 50_000}
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_has_just_changed_has_no_stamp_whatever_its_time(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("1")
    assert stamp_of(path.stat()) is None
    os.utime(path, (0, 0))
    assert stamp_of(path.stat()) is None


def test_another_file_of_the_same_size_and_time_has_another_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "SETTLED_NS", -(10**12))
    path = tmp_path / "plan.json"
    stamps = []
    for content in "12":
        path.write_text(content)
        os.utime(path, (1, 1))
        stamps.append(stamp_of(path.stat()))
        time.sleep(0.02)
    assert stamps[0] != stamps[1]


def test_the_code_of_every_module_behind_a_cached_value_counts() -> None:
    code = (
        f"import sys, {', '.join(READERS)}\nprint(*(m.__file__ for n, m in sys.modules.items() if n[:6] == 'detour'))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    package = Path(detour.__file__).parent
    folders = {str(Path(file).parent.relative_to(package)) for file in printed.split()}
    assert folders <= set(CODE)


def test_the_code_version_follows_every_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for room in CODE:
        (tmp_path / room).mkdir(parents=True, exist_ok=True)
        (tmp_path / room / "module.py").write_text("old")
    monkeypatch.setattr(private, "__file__", str(tmp_path / "ledger" / "private.py"))
    versions = set[str]()
    for room in ("", *CODE):
        if room:
            (tmp_path / room / "module.py").write_text("new")
        code_version.cache_clear()
        versions.add(code_version())
    code_version.cache_clear()
    assert len(versions) == 1 + len(CODE)
