"""The `detour` command's frame: answers `--help`, leaves all else to the verbs, and turns errors into one message."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from detour.imports import uncollected
from detour.launch.endings import DEBUG, ending
from detour.launch.text.help import help_page
from detour.launch.text.screen import leave_closed_pipe, say, show, speak_any_locale

GC_THRESHOLD = 50_000
"""New objects between two garbage collections; most verbs end before the first."""


def main() -> None:
    """Entry point; whatever goes wrong ends in one message and a documented exit code."""
    speak_any_locale()
    try:
        sys.exit(_answer(sys.argv[1:]))
    except BrokenPipeError:
        leave_closed_pipe()
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        _end(error)
    except KeyboardInterrupt as error:
        _end(error)


def _answer(arguments: Sequence[str]) -> int | None:
    """The list of verbs is shown without click, whose import takes three times as long as Python's start."""
    if arguments in (["--help"], ["-h"]):
        show(help_page())
        return None
    with uncollected():
        from detour.launch.verbs import run_verb
    gc.set_threshold(GC_THRESHOLD)
    return run_verb(arguments)


def _end(error: BaseException) -> NoReturn:
    message, exit_code = ending(error)
    say(f"detour: {message}")
    sys.exit(exit_code)
