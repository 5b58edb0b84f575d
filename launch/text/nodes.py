"""What is free on a cluster, a line per partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detour.scheduler.free_nodes import FreeNodes
from detour.text import cells, fitted, plain

HEADINGS = ("partition", "GPUs free", "on one node", "nodes free", "cores free")


def free_lines(found: Sequence[FreeNodes]) -> Iterator[str]:
    rows = [HEADINGS, *map(_cells, found)]
    sizes = [max(cells(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        yield "  ".join(
            fitted(cell, size, right=column > 0) for column, (cell, size) in enumerate(zip(row, sizes, strict=True))
        )


def _cells(one: FreeNodes) -> tuple[str, ...]:
    gpus = (f"{one.gpus_free} of {one.gpus}", str(one.most_gpus_free)) if one.gpus else ("-", "-")
    return plain(one.partition), *gpus, f"{one.nodes_free} of {one.nodes}", f"{one.cores_free} of {one.cores}"
