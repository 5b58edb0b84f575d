"""Any error ends in one message and a documented exit code."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from detour.errors import BudgetRefused, SchedulerUnavailable, StageFailed, UserError, Withdrawn
from detour.launch.endings import ending
from detour.launch.text.screen import show, show_progress, warn

MAIN = "from detour.launch.cli import main; main()"
BUG = """
import detour.launch.cli as cli
def broken(**_): raise KeyError("no such thing")
import detour.launch.schema as schema
schema.command.callback = broken
cli.main()
"""


def command(*arguments: str, code: str = MAIN, cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
        errors="replace",
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (UserError("x"), 2),
        (StageFailed("x"), 3),
        (BudgetRefused("x"), 4),
        (SchedulerUnavailable("x"), 5),
        (Withdrawn("x"), 130),
    ],
)
def test_an_error_of_detour_keeps_its_message_and_its_code(error: Exception, exit_code: int) -> None:
    assert ending(error) == ("x", exit_code)


def test_ctrl_c_ends_with_130() -> None:
    assert ending(KeyboardInterrupt()) == ("interrupted", 130)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device", "/w/ledger/a.jsonl"), "/w/ledger/a.jsonl: the disk is full"),
        (OSError(122, "Disk quota exceeded", "/w/a"), "/w/a: the quota is used up"),
        (OSError(30, "Read-only file system", "/w/a"), "/w/a: the file system is read-only"),
        (PermissionError(13, "Permission denied", "/w/a"), "/w/a: no permission"),
        (OSError(36, "File name too long", "/w/a"), "/w/a: the name is too long"),
        (IsADirectoryError(21, "Is a directory", "/w/a"), "/w/a: Is a directory"),
        (RecursionError(), "nested too deeply"),
        (ModuleNotFoundError("No module named 'torch.cuda'", name="torch.cuda"), "torch is not installed in "),
        (MemoryError(), "out of memory"),
    ],
)
def test_an_error_of_the_system_is_reported_with_its_file(error: BaseException, expected: str) -> None:
    message, exit_code = ending(error)
    assert expected in message
    assert exit_code == 2


def test_a_deleted_working_directory_is_named(tmp_path: Path) -> None:
    code = f"import os; os.chdir({str(tmp_path)!r}); os.rmdir({str(tmp_path)!r})\n{MAIN}"
    exit_code, out, error = command("status", code=code)
    assert (exit_code, out) == (2, "")
    assert error == "detour: the current directory no longer exists: change to another one\n"


def test_a_bug_is_one_line_with_its_place() -> None:
    exit_code, out, error = command("schema", code=BUG)
    assert exit_code == 1
    assert out == ""
    assert error.startswith("detour: a bug in detour: KeyError: 'no such thing' at ")
    assert len(error.splitlines()) == 1


def test_the_traceback_of_a_bug_is_shown_on_request() -> None:
    assert "Traceback" in command("schema", code=BUG, DETOUR_DEBUG="1")[2]


def test_a_mistyped_option_is_bad_input() -> None:
    exit_code, out, error = command("status", "--offlin")
    assert (exit_code, out) == (2, "")
    assert "--offline" in error


def test_in_a_limited_locale_ascii_replaces_missing_letters() -> None:
    exit_code, out, error = command("plan", "quickstart", PYTHONIOENCODING="latin-1")
    assert (exit_code, error) == (0, "")
    assert "|- prepare" in out


def test_file_names_are_utf8_in_any_locale(tmp_path: Path) -> None:
    """In another encoding, jobs and libraries that know only UTF-8 would see different names."""
    made = subprocess.run(
        ["localedef", "-i", "fr_FR", "-f", "ISO-8859-1", tmp_path / "fr_FR.ISO-8859-1"],
        capture_output=True,
        check=False,
    )
    if made.returncode > 1:
        pytest.skip("the sources of locales are not installed")
    code = f"""
import os, sys
if sys.flags.utf8_mode:
    import detour.launch.schema as schema
    schema.command.callback = lambda **_: print(os.environ.get("DETOUR_TERMINAL_ENCODING"), sys.stdout.encoding, "é")
{MAIN}"""
    done = subprocess.run(
        [sys.executable, "-c", code, "schema"],
        capture_output=True,
        env={**os.environ, "LC_ALL": "fr_FR.ISO-8859-1", "LOCPATH": str(tmp_path)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("None iso8859-1 é\n".encode("latin-1"), b"")


def test_a_reader_that_closes_the_pipe_is_no_failure() -> None:
    reader = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -c '{MAIN}' schema | head -1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert reader.returncode == 0
    assert reader.stdout == "{\n"
    assert reader.stderr == ""


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["schema"], ["list", "--json"], ["plan", "--help"]])
def test_a_full_disk_under_the_output_is_one_message(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        assert done.returncode == 2
        assert re.fullmatch(r"detour: (standard output: )?the disk is full: make room and run it again\n", done.stderr)
        assert subprocess.run([sys.executable, "-c", MAIN, *arguments], stdout=full, stderr=full).returncode == 2


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_closed_output_acts_like_dev_null(closed: str, tmp_path: Path) -> None:
    for verb in ("status", "list --json"):
        command_line = f"{sys.executable} -c '{MAIN}' {verb} {closed}"
        done = subprocess.run(["bash", "-c", command_line], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_reader_that_closes_the_pipe_changes_no_exit_code() -> None:
    """A failed order must not look successful because `head` had seen its first line."""
    code = """
import detour.launch.cli as cli
import detour.launch.schema as schema
from detour.errors import StageFailed
from detour.launch.text.screen import show
def failing(**_):
    for _ in range(10_000): show("line")
    raise StageFailed("it failed")
schema.command.callback = failing
cli.main()
"""
    line = f"set -o pipefail; {sys.executable} -c '{code}' schema | head -1"
    reader = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (reader.returncode, reader.stdout, reader.stderr) == (3, "line\n", "detour: it failed\n")


def test_a_warning_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as device:
        full = io.TextIOWrapper(device, write_through=True)
        monkeypatch.setattr(sys, "stderr", full)
        warn(["there is no room"])
        monkeypatch.setattr(sys, "stdout", full)
        show_progress("prepare started")
        with pytest.raises(OSError, match="No space left") as raised:
            show("the result")
        assert raised.value.filename == "standard output"
        monkeypatch.undo()
