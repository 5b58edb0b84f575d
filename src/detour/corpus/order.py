"""Random orders that can be looked up: pure functions of a seed, equal on every machine.

Shuffles sort by a keyed hash of the index instead of drawing from a generator, whose stream may change between library
versions. The mix of sources is a cycle of rows in which every source gets its share.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

MIX_RESOLUTION = 100_000
"""Maximum cycle length of the mix, in rows; weights that need a longer one are rounded to this many parts."""


def order_key(seed: int, *labels: str | int) -> int:
    """Return a 64-bit key that identifies one shuffle: of a seed, a source, an epoch."""
    text = "\0".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def scattered(indices: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Hash indices by a keyed bijection on 64 bits, so that distinct indices never tie.

    Two rounds of the finalizer of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    2014), with the key added before each.
    """
    z = indices.astype(np.uint64, copy=True)
    with np.errstate(over="ignore"):
        for _ in range(2):
            z += np.uint64(key)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
    return z


def shuffled(count: int, key: int) -> NDArray[np.int64]:
    """Return the numbers below `count` in the order of their hashes."""
    return np.argsort(scattered(np.arange(count, dtype=np.uint64), key), kind="stable")


def mix_parts(weights: Sequence[float]) -> list[int]:
    """Return integer parts in the exact ratio of the weights: 0.7, 0.2, 0.1 are 7, 2, 1.

    If that takes more than MIX_RESOLUTION parts, return the closest integers, each at least 1, that sum to it.
    """
    fractions = [Fraction(str(weight)) for weight in weights]
    denominator = math.lcm(*(fraction.denominator for fraction in fractions))
    parts = [int(fraction * denominator) for fraction in fractions]
    divisor = math.gcd(*parts)
    parts = [part // divisor for part in parts]
    total = sum(parts)
    if total <= MIX_RESOLUTION:
        return parts
    shares = [Fraction(part * MIX_RESOLUTION, total) for part in parts]
    rounded = [max(1, math.floor(share)) for share in shares]
    while sum(rounded) != MIX_RESOLUTION:
        step = 1 if sum(rounded) < MIX_RESOLUTION else -1
        movable = [i for i in range(len(parts)) if rounded[i] + step >= 1]
        furthest = max(movable, key=lambda i: step * (shares[i] - rounded[i]))
        rounded[furthest] += step
    return rounded


def mix_cycle(parts: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return one cycle of sum(parts) rows: the source of each row, and the number of earlier rows of that source.

    Among any first n rows, a source of share w has more than n * w - 1 and fewer than n * w + 1. Its j-th row (from 0)
    may come from floor(j / w) on and must come before ceil((j + 1) / w); taking the earliest deadline among eligible
    rows meets all of them (Baruah, Cohen, Plaxton and Varvel, "Proportionate progress", 1996).
    """
    total = sum(parts)
    sources = np.empty(total, dtype=np.int32)
    ranks = np.empty(total, dtype=np.int32)
    waiting = [(0, source, 0) for source, part in enumerate(parts) if part]
    heapq.heapify(waiting)
    ready: list[tuple[int, int, int]] = []
    for row in range(total):
        while waiting and waiting[0][0] <= row:
            _, source, rank = heapq.heappop(waiting)
            heapq.heappush(ready, (-(-(rank + 1) * total // parts[source]), source, rank))
        _, source, rank = heapq.heappop(ready)
        sources[row], ranks[row] = source, rank
        if rank + 1 < parts[source]:
            heapq.heappush(waiting, ((rank + 1) * total // parts[source], source, rank + 1))
    return sources, ranks
