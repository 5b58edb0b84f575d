"""Whether there is anything left to wait for in some chains. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from detour.monitoring.status import ChainStatus

Verdict = Literal["done", "going on", "stopped"]


def verdict(chains: Sequence[ChainStatus], *, fail_fast: bool = False) -> Verdict:
    """`done` if all chains are; `stopped` if nothing left is running or pending, or if one failed with `fail_fast`."""
    if all(chain.is_done for chain in chains):
        return "done"
    if fail_fast and any(row.status == "failed" for chain in chains for row in chain.stages):
        return "stopped"
    return "stopped" if all(chain.is_done or chain.is_over for chain in chains) else "going on"
