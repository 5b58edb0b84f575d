"""What becomes of memory that a training frees in every step and takes again in the next."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""glibc's names of `mallopt` without their M_, from malloc.h."""
KEPT_BYTES = {TRIM_THRESHOLD: 2**30, TOP_PAD: 2**26, MMAP_THRESHOLD: 2**28}


def keep_freed_memory() -> None:
    """Up to 1 GiB stays with the process. glibc would give tensors back to the kernel one by one, which has to clear
    their pages again in the next step: some percent of what a small training on a CPU takes. Results stay as they are.

    Another C library is left as it is.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in KEPT_BYTES.items():
            mallopt(option, size)
