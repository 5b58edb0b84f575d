"""Commands to which file permissions apply even if root runs the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


def as_a_person(command: Sequence[str]) -> list[str]:
    """Return the command without root's power over files. Skips the test if root cannot give it up."""
    if os.geteuid() != 0:
        return [*command]
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]


@contextmanager
def unreadable(folder: Path) -> Iterator[None]:
    mode = folder.stat().st_mode
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(mode)
