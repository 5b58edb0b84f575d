"""Sample the power reported by `nvidia-smi` during some work, and integrate it over given intervals."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import fsum, isfinite

EVERY_MS = 200
FIELDS = ("power.draw.instant", "power.draw")
"""Since Ampere, the second one is the mean over the last second."""
COMMAND = (
    "nvidia-smi",
    f"--query-gpu=timestamp,uuid,{','.join(FIELDS)}",
    "--format=csv,noheader,nounits",
    f"--loop-ms={EVERY_MS}",
)
STAMP = "%Y/%m/%d %H:%M:%S.%f"
"""In local time."""
LONGEST_GAP_S = 2.0
"""Longest gap between two samples over which power is interpolated."""

Interval = tuple[float, float]
"""Start and end, seconds since the epoch."""
Sample = tuple[float, float]
"""Seconds since the epoch, and watts."""


@dataclass
class Samples:
    """Samples by field and UUID; a GPU may lack one of the fields."""

    by_field: dict[str, dict[str, list[Sample]]] = field(default_factory=lambda: {name: {} for name in FIELDS})
    lines: list[str] = field(default_factory=list)
    """The raw lines."""

    def add(self, line: str) -> None:
        """Add a line; truncated lines and missing values are ignored."""
        self.lines.append(line)
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 2 + len(FIELDS):
            return
        with suppress(ValueError):
            at_s = datetime.strptime(parts[0], STAMP).astimezone().timestamp()
            for name, text in zip(FIELDS, parts[2:], strict=True):
                with suppress(ValueError):
                    if isfinite(watts := float(text)):
                        self.by_field[name].setdefault(parts[1], []).append((at_s, watts))


@contextmanager
def sampling() -> Iterator[Samples]:
    """Sample while the block runs, through a terminal, as nvidia-smi would buffer lines in a pipe."""
    samples = Samples()
    main, other = pty.openpty()
    process = subprocess.Popen(COMMAND, stdout=other, stderr=subprocess.STDOUT)
    os.close(other)
    thread = threading.Thread(target=_collect, args=(main, samples), daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        process.terminate()
        process.wait()
        thread.join()


def _collect(terminal: int, samples: Samples) -> None:
    with suppress(OSError), open(terminal, encoding="utf-8", errors="replace") as lines:  # EIO: the other end closed
        for line in lines:
            samples.add(line.strip())


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of the intervals, as disjoint intervals."""
    found: list[Interval] = []
    for start_s, end_s in sorted(intervals):
        if found and start_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(end_s, found[-1][1]))
        else:
            found.append((start_s, end_s))
    return found


def energy_j(samples: Sequence[Sample], intervals: Sequence[Interval]) -> float | None:
    """Trapezoidal integral over the intervals; None if samples are missing for part of them."""
    parts = [_integral(samples, start_s, end_s) for start_s, end_s in intervals]
    known = [part for part in parts if part is not None]
    return fsum(known) if parts and len(known) == len(parts) else None


def _integral(samples: Sequence[Sample], start_s: float, end_s: float) -> float | None:
    drawn_j, covered_s = [0.0], [0.0]
    for (first_s, first_w), (last_s, last_w) in pairwise(samples):
        low_s, high_s = max(first_s, start_s), min(last_s, end_s)
        if high_s <= low_s or last_s - first_s > LONGEST_GAP_S:
            continue
        slope = (last_w - first_w) / (last_s - first_s)
        drawn_j.append((first_w + slope * ((low_s + high_s) / 2 - first_s)) * (high_s - low_s))
        covered_s.append(high_s - low_s)
    return fsum(drawn_j) if fsum(covered_s) >= end_s - start_s - 1e-6 else None
