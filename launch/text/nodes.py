"""What is free on a cluster, a line per partition."""

from __future__ import annotations

from collections.abc import Sequence

from detour.scheduler.free_nodes import FreeNodes
from detour.text import aligned, plain

HEADINGS = ("partition", "GPUs free", "on one node", "nodes free", "cores free")


def free_lines(found: Sequence[FreeNodes]) -> list[str]:
    return aligned([HEADINGS, *map(_cells, found)], right=range(1, len(HEADINGS)))


def _cells(one: FreeNodes) -> tuple[str, ...]:
    gpus = (f"{one.gpus_free} of {one.gpus}", str(one.most_gpus_free)) if one.gpus else ("-", "-")
    return plain(one.partition), *gpus, f"{one.nodes_free} of {one.nodes}", f"{one.cores_free} of {one.cores}"
