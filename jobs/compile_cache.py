"""Where code compiled for a GPU is kept between attempts."""

from __future__ import annotations

import os
from pathlib import Path


def keep_compiled(workspace: Path) -> None:
    """Keep what torch, Triton and flash-attn-4 compile, so that the next attempt starts in seconds.

    It is code, so each user has a folder that is closed to others. A cache that the environment already sets is left
    alone.
    """
    folder = workspace / "compiled" / str(os.getuid())
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED", "1")
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", str(folder / "flash-attn-4"))
