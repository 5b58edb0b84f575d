"""Check a folder of safetensors by the files' headers only.

Also used on login nodes: no torch, and only headers are read, so that a plan can refuse weights that cannot be loaded
before anything is queued.
"""

from __future__ import annotations

import json
from pathlib import Path

from detour.files import is_lfs_pointer
from detour.safetensors_header import LENGTH_BYTES, METADATA

LARGEST_HEADER_BYTES = 100_000_000
"""Limit of the format's own reader."""
DTYPES = ("F64", "F32", "F16", "BF16")
"""Accepted dtypes; others, such as quantised ones, are meaningless without their scales."""


def folder_problem(folder: Path) -> str | None:
    """Return the first invalid file of a local model, with the reason; None if there is none."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    weights = [path for path in files if path.suffix == ".safetensors"] or [p for p in files if p.suffix == ".bin"]
    for path in [folder / "config.json", *weights]:
        if path.exists() and is_lfs_pointer(path):
            return f"{path}: a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned"
        if path.suffix == ".safetensors" and (reason := safetensors_problem(path)):
            return f"{path}: {reason}"
    return None


def safetensors_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shapes by tensor name. Raises OSError, KeyError or ValueError for an invalid file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(LENGTH_BYTES), "little")))
    return {name: entry["shape"] for name, entry in header.items() if name != METADATA}


def safetensors_problem(path: Path) -> str | None:
    """Return why the file is not a complete safetensors file of floating-point weights, or None.

    The tensors end at the largest offset that the header gives.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if size < LENGTH_BYTES or length > LARGEST_HEADER_BYTES:
            return "not a safetensors file"
        header = file.read(length)
    if len(header) < length:
        return f"cut short: its header is {length:,} bytes and {len(header):,} are there"
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != METADATA}
        expected = LENGTH_BYTES + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        strange = next((name for name, entry in tensors.items() if entry["dtype"] not in DTYPES), None)
    except (ValueError, AttributeError, KeyError, IndexError, TypeError):
        return "not a safetensors file: its header cannot be read"
    if size != expected:
        return f"{'cut short' if size < expected else 'damaged'}: {size:,} bytes, its header describes {expected:,}"
    if strange:
        return f"tensor {strange} is {tensors[strange]['dtype']}, expected one of {', '.join(DTYPES)}"
    return None
