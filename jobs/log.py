"""What a job says goes to its log, standard error, as `detour: ...`, one line each."""

from __future__ import annotations

import logging
import sys

LOGGER = logging.getLogger("detour")


def log_to_stderr() -> None:
    """For the whole process; loggers of libraries are left alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("detour: %(message)s"))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
