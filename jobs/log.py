"""A job's messages go to its log, standard error, as `detour: ...`, one line each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

LOGGER = logging.getLogger("detour")


class Log:
    """A job's output; on a full disk, lines are lost but nothing fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):  # there is nowhere else to write it
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def log_to_stderr(*, of_several: bool = False) -> None:
    """Log to standard error, for the whole process; loggers of libraries are left alone.

    With `of_several`, for processes that share a log, each line ends with the process id.
    """
    sys.stdout, sys.stderr = Log(sys.stdout), Log(sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"detour: %(message)s{' [%(process)d]' if of_several else ''}"))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def log(message: str) -> None:
    LOGGER.info(message)


@contextmanager
def best_effort(consequence: str) -> Iterator[None]:
    """For what a stage can do without; `consequence` is logged if the file system refuses."""
    try:
        yield
    except OSError as error:
        log(f"{consequence}: {error}")
