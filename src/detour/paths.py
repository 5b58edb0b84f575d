"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def written_path(text: str) -> Path:
    """Return a path with `~` expanded. An unknown home is left as written: its reader will report a missing file."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  Path.expanduser raises for an unknown home
