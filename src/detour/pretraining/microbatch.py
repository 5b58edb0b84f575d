"""Find the largest microbatch that fits the device's memory, before the first step."""

from __future__ import annotations

from collections.abc import Callable

import torch

from detour.errors import PermanentFailure

SHARE_USED = 0.9
"""Usable fraction of the device's memory; the rest is for fragmentation and for libraries."""


def microbatch_rows(rows: int, device: torch.device, run_rows: Callable[[int], None], moments_bytes: int) -> int:
    """The largest divisor of a rank's `rows` that fits; 1 on the CPU, where small microbatches stay in the cache.

    `run_rows(n)` computes loss and gradients of n rows. Memory grows linearly with n, so runs with one and two rows
    are enough. `moments_bytes` is what the optimizer will allocate in its first step. Raises PermanentFailure if not
    even one row fits.
    """
    if device.type != "cuda":
        return 1
    one, two = (_peak_bytes(run_rows, n, device) for n in (1, 2))
    fixed = 2 * one - two + moments_bytes
    capacity = torch.cuda.get_device_properties(device).total_memory
    fitting = rows_that_fit(rows, fixed, two - one, capacity)
    if fitting is None:
        raise PermanentFailure(
            f"one row needs {(one + moments_bytes) / 2**30:.1f} GiB, and the device has {capacity / 2**30:.1f}: "
            "shorten `data.sequence_length`, or take a larger GPU"
        )
    return fitting


def rows_that_fit(rows: int, fixed_bytes: int, row_bytes: int, capacity_bytes: int) -> int | None:
    """The largest divisor n of `rows` with fixed + n * row within the usable memory; None if there is none.

    A divisor keeps all microbatches equal, so they are compiled once.
    """
    room = SHARE_USED * capacity_bytes - fixed_bytes
    return next((n for n in range(rows, 0, -1) if rows % n == 0 and n * row_bytes <= room), None)


def _peak_bytes(run_rows: Callable[[int], None], rows: int, device: torch.device) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    run_rows(rows)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)
