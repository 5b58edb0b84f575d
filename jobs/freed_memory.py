"""Keeps memory that a training frees in every step and needs again in the next."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""glibc's names of `mallopt` options without their M_, from malloc.h."""
KEPT_BYTES = {TRIM_THRESHOLD: 2**30, TOP_PAD: 2**26, MMAP_THRESHOLD: 2**28}


def keep_freed_memory() -> None:
    """Keep up to 1 GiB of freed memory in the process.

    glibc would return tensors to the kernel one by one, which has to clear their pages again in the next step: a few
    percent of the time of a small training on a CPU. Results are unchanged. Other C libraries are left as they are.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in KEPT_BYTES.items():
            mallopt(option, size)
