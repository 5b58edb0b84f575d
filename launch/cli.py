"""The frame of the `detour` command: a quick answer or a verb, and one message for any error."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from detour.imports import uncollected
from detour.launch.text.screen import (
    TERMINAL_ENCODING,
    ignore_closed_pipe,
    prepare_streams,
    progress_is_visible,
    say,
    waiting_line,
)
from detour.scheduler.slow_clients import on_slow

GC_THRESHOLD = 50_000
"""New objects between two garbage collections; most verbs end before the first."""


def main() -> None:
    """Entry point. Any error ends in one message and a documented exit code."""
    if sys.getfilesystemencoding() != "utf-8":
        _start_in_utf8()
    prepare_streams()
    try:
        sys.exit(_run(sys.argv[1:]))
    except BrokenPipeError:
        ignore_closed_pipe()  # of a help page, which click prints
    except Exception as error:
        from detour.launch.endings import DEBUG  # not imported unless something fails

        if os.environ.get(DEBUG):
            raise
        _end(error)
    except KeyboardInterrupt as error:
        _end(error)


def _start_in_utf8() -> NoReturn:
    """Start again with UTF-8 file names whatever the locale, as libraries, jobs and our own files use.

    The terminal keeps its own encoding.
    """
    terminal = {TERMINAL_ENCODING: sys.stdout.encoding} if sys.stdout else {}
    environment = {**os.environ, **terminal, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)


def _run(arguments: Sequence[str]) -> int | None:
    """The exit code; None for success."""
    from detour.launch.quick import answered  # here, Ctrl-C during the import is one message

    gc.set_threshold(GC_THRESHOLD)
    if progress_is_visible(arguments):
        on_slow.set(waiting_line)
    if answered(arguments):
        return None
    with uncollected():
        from detour.launch.verbs import run_verb
    return run_verb(arguments)


def _end(error: BaseException) -> NoReturn:
    from detour.launch.endings import ending

    message, exit_code = ending(error)
    say(f"detour: {message}")
    sys.exit(exit_code)
