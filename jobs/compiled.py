"""Where what is compiled for a GPU is kept between attempts."""

from __future__ import annotations

import os
from pathlib import Path


def keep_compiled(workspace: Path) -> None:
    """What torch, Triton and flash-attn-4 compile outlives the job, so that the next attempt starts in seconds. It is
    code: a user has a folder of their own, closed to others. A cache that the environment names is left alone."""
    folder = workspace / "compiled" / str(os.getuid())
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED", "1")
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", str(folder / "flash-attn-4"))
