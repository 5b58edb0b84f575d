"""How a command ends after an error: one message and a documented exit code, whatever was raised."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import NamedTuple

from detour.errors import BUG_EXIT_CODE, DetourError, UserError, Withdrawn

DEBUG = "DETOUR_DEBUG"
"""Environment variable that, if set, shows the traceback of a bug."""
ADVICE = {
    errno.ENOSPC: "the disk is full: make room and run it again",
    errno.EDQUOT: "the quota is used up: make room and run it again",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission; a workspace is private until it is shared (docs/slurm.md)",
    errno.EPERM: "no permission; a workspace is private until it is shared (docs/slurm.md)",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
    errno.ESTALE: "the file system lost the file: run it again",
    errno.EIO: "the file system reports an I/O error",
}


class Ending(NamedTuple):
    message: str
    exit_code: int


def ending(error: BaseException) -> Ending:
    """The ending for any error that click does not show itself."""
    if isinstance(error, DetourError):
        return Ending(str(error), error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Ending("interrupted", Withdrawn.exit_code)
    if isinstance(error, ModuleNotFoundError) and (name := (error.name or "").partition(".")[0]) != "detour":
        message = f"{name} is not installed in {sys.prefix}: docs/installing.md lists what each part of detour needs"
        return Ending(message, UserError.exit_code)
    if isinstance(error, OSError):
        return Ending(_os_error(error), UserError.exit_code)
    if isinstance(error, RecursionError):
        return Ending("the input is nested too deeply", UserError.exit_code)
    if isinstance(error, MemoryError):
        return Ending("out of memory: the input asks for more than this machine has", UserError.exit_code)
    if isinstance(error, UnicodeError):
        return Ending(f"text that cannot be read or written: {error}", UserError.exit_code)
    return Ending(f"a bug in detour: {_with_place(error)}; {DEBUG}=1 shows the traceback", BUG_EXIT_CODE)


def _os_error(error: OSError) -> str:
    if error.filename is None and not _current_directory_exists():
        return "the current directory no longer exists: change to another one"
    reason = ADVICE.get(error.errno or 0, error.strerror or str(error))
    written = error.filename2 or error.filename
    return f"{written}: {reason}" if written else reason


def _current_directory_exists() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  Path.cwd() is the same call
    except OSError:
        return False
    return True


def _with_place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}: {error}{place}"
