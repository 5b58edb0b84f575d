"""How many rows a forward pass takes at once: as many as the device's memory holds, found before the first step."""

from __future__ import annotations

from collections.abc import Callable

import torch

from detour.errors import PermanentFailure

SHARE_USED = 0.9
"""Of the device's memory; the rest is for fragments and for what a library takes later."""


def microbatch_rows(rows: int, device: torch.device, run_rows: Callable[[int], None], moments_bytes: int) -> int:
    """The largest divisor of a rank's `rows` that fits.

    `run_rows(n)` computes loss and gradients of n rows; memory grows in proportion to them, so one and two rows say
    all. `moments_bytes` is what the optimizer will take with its first step. On the CPU it is 1, which keeps the cache
    warm. Raises PermanentFailure when not even one row fits.
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
    """The largest divisor of `rows` for which fixed + n x row is within the share; None when there is none.

    A divisor, because microbatches of one size are compiled once.
    """
    room = SHARE_USED * capacity_bytes - fixed_bytes
    return next((n for n in range(rows, 0, -1) if rows % n == 0 and n * row_bytes <= room), None)


def _peak_bytes(run_rows: Callable[[int], None], rows: int, device: torch.device) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    run_rows(rows)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)
