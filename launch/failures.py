"""Stages that failed for good in an earlier run: what is said of them before anything is planned or sent.

Nothing runs them, nor what waits for them, until a retry has cleared them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.monitoring.text import plain
from detour.plan.build import Plan
from detour.plan.order import downstream
from detour.plan.stage import Stage
from launch.chains import chain_names, chain_stages
from launch.pricing import counted, wrapped

SHOWN = 6
LEFT_OUT = "left out, with all that waits for it, until this clears it and runs it again:"


def failed_stages(place: Workspace, stages: Iterable[Stage]) -> list[Stage]:
    return [stage for stage in stages if not place.is_done(stage.id) and place.has_failed(stage.id)]


def with_dependants(stages: Iterable[Stage], failed: Iterable[Stage]) -> set[str]:
    """Ids of the failed stages and of all that waits for them."""
    return {stage.id for stage in downstream(list(stages), {stage.id for stage in failed})}


def failure_reason(place: Workspace, stage_id: str) -> str:
    try:
        return str(json.loads(place.failure(stage_id).read_bytes())["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"


def failures_in_words(
    place: Workspace, plans: Sequence[Plan], failed: Sequence[Stage], way_out: str | None = None
) -> Iterator[str]:
    """Which stage of which chains, why, what waits for it, and what to do: `way_out`, else a retry of a chain.

    Nothing where nothing failed. At most 100 columns, but for the names of chains in commands.
    """
    shown = failed[:SHOWN]
    needed_by: dict[str, list[str]] = {stage.id: [] for stage in shown}
    for plan in plans if shown else ():
        for stage in plan.stages:
            if stage.id in needed_by:
                needed_by[stage.id].append(plan.chain)
    stages = list({stage.id: stage for plan in plans for stage in plan.stages}.values()) if shown else []
    for stage in shown:
        chains = needed_by[stage.id]
        others = f" and {counted(len(chains) - 1, 'other chain')}" if len(chains) > 1 else ""
        waiting = len(downstream(stages, [stage.id])) - 1
        told = f"failed for good: {stage.label} of {chains[0]}{others}: {failure_reason(place, stage.id)}"
        yield from wrapped(plain(told) + (f" (what waits for it: {counted(waiting, 'stage')})" if waiting else ""), "")
    if len(failed) > SHOWN:
        yield f"... and {len(failed) - SHOWN:,} more"
    commands = [way_out] if way_out and shown else _retries(place, needed_by)
    if commands:
        yield f"  {LEFT_OUT}"
        yield from (f"    {command}" for command in commands)


def _retries(place: Workspace, needed_by: dict[str, list[str]]) -> list[str]:
    """By chains that the workspace knows: of this plan, or those that brought the stage in under another name."""
    known = set(chain_names(place)) if needed_by else set()
    chosen: dict[str, None] = {}
    for stage_id, chains in needed_by.items():
        ours = next((chain for chain in chains if chain in known), None)
        chain = ours or next((name for name in sorted(known) if _has(place, name, stage_id)), None)
        if chain is not None:
            chosen[f"detour retry {plain(chain)}"] = None
    return list(chosen)


def _has(place: Workspace, chain: str, stage_id: str) -> bool:
    try:
        return any(stage.id == stage_id for stage in chain_stages(place, chain))
    except UserError:
        return False
