"""The share of a board that a slice (MIG) is, from NVIDIA's name of it.

`3g.40gb` has 3 of the board's compute slices, `1c.2g.10gb` has 1 of the 2 of such a slice. A board has 7 compute
slices; an A30 (6 GB each) and an RTX PRO 6000 (24 GB each) have 4. Slurm counts each MIG slice as a GPU.
"""

from __future__ import annotations

import re

from detour.sacct.rows import JobRow
from detour.sacct.values import typed_gpus

_SLICE = re.compile(r"(?:(\d)c\.)?(\d)g\.(\d+)gb", re.IGNORECASE)
MOST = 7
OF_FOUR_GB = (6, 24)
"""Memory per compute slice on boards that have four."""
AMBIGUOUS = (1, 24)
"""`1g.24gb` is a seventh of an H100 NVL, and a quarter of an RTX PRO 6000."""


def board_share(gpu_type: str) -> float | None:
    """Return the share of a board: 1 for a whole GPU, None for a slice of unknown size."""
    found = _SLICE.search(gpu_type)
    if found is None:
        return None if re.search(r"\bmig\b|_mig|mig_", gpu_type, re.IGNORECASE) else 1.0
    slices, memory_gb = int(found[2]), int(found[3])
    if slices == 0 or (slices, memory_gb) == AMBIGUOUS:
        return None
    held = int(found[1] or slices)
    return min(held, slices) / (4 if memory_gb in [slices * each for each in OF_FOUR_GB] else MOST)


def holds_slices(row: JobRow) -> bool:
    return any(board_share(gpu_type) != 1.0 for gpu_type in _types(row))


def boards_of(row: JobRow) -> float | None:
    """Return the row's GPUs in boards, None if unknown."""
    if not holds_slices(row) or row.n_gpus is None:
        return row.n_gpus
    types = _types(row)
    counts = {types[0]: row.n_gpus} if len(types) == 1 else typed_gpus(row.allocated_tres or "")
    shares = [(board_share(gpu_type), count) for gpu_type, count in counts.items()]
    if sum(counts.values()) != row.n_gpus or any(share is None for share, _ in shares):
        return None
    return sum((share or 0.0) * count for share, count in shares)


def _types(row: JobRow) -> list[str]:
    return row.gpu_type.split(",") if row.gpu_type else []
