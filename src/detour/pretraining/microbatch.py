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
    capacity = torch.cuda.get_device_properties(device).total_memory
    one = _peak_bytes(run_rows, 1, device)
    if one is None or one + moments_bytes > SHARE_USED * capacity:
        needed = "" if one is None else f" of the {(one + moments_bytes) / 2**30:.1f} that one row needs"
        raise PermanentFailure(
            f"the device has {capacity / 2**30:.1f} GiB{needed}, too little for one row: "
            "shorten `data.sequence_length`, or take a larger GPU"
        )
    two = _peak_bytes(run_rows, 2, device)
    return 1 if two is None else rows_that_fit(rows, 2 * one - two + moments_bytes, two - one, capacity)


def rows_that_fit(rows: int, fixed_bytes: int, row_bytes: int, capacity_bytes: int) -> int:
    """The largest divisor n of `rows` with fixed + n * row within the usable memory; at least 1.

    A divisor keeps all microbatches equal, so they are compiled once.
    """
    room = SHARE_USED * capacity_bytes - fixed_bytes
    return next((n for n in range(rows, 1, -1) if rows % n == 0 and n * row_bytes <= room), 1)


def _peak_bytes(run_rows: Callable[[int], None], rows: int, device: torch.device) -> int | None:
    """None if it is more than the device has."""
    torch.cuda.reset_peak_memory_stats(device)
    try:
        run_rows(rows)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)
