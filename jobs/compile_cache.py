"""Where code compiled for a GPU is kept between attempts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from detour.jobs.log import best_effort


def keep_compiled(workspace: Path) -> None:
    """Keep what torch, Triton and flash-attn-4 compile, so that the next attempt starts in seconds.

    It is code, so each user has a folder that is closed to others; without such a folder nothing is kept. A cache that
    the environment already sets is left alone.
    """
    folder = workspace / "compiled" / str(os.getuid())
    with best_effort("compiled code is not kept"):
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _require_own(folder)
        _keep_in(folder)


def _require_own(folder: Path) -> None:
    """Raises PermissionError unless this user alone can write to the folder, which others may have made before."""
    status = folder.lstat()
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    if not is_own or not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not a folder that this user alone can write to")


def _keep_in(folder: Path) -> None:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED", "1")
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", str(folder / "flash-attn-4"))
