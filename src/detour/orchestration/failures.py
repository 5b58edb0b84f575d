"""Stages that failed for good in an earlier run: what is said of them before anything is planned or sent.

Nothing runs them, nor what waits for them, until a retry has cleared them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence

from detour.errors import UserError
from detour.launch.text.price import counted, wrapped
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.monitoring.text import plain
from detour.orchestration.selection import chain_names, chain_stages
from detour.planning.build import Plan
from detour.planning.order import downstream
from detour.planning.stage import Stage

SHOWN = 6
LEFT_OUT = "left out, with all that waits for it, until it is cleared and run again by:"


def failed_stages(place: Workspace, stages: Iterable[Stage]) -> list[Stage]:
    return [stage for stage in stages if not place.is_done(stage.id) and place.has_failed(stage.id)]


def with_dependants(stages: Iterable[Stage], failed: Iterable[Stage]) -> set[str]:
    """Ids of the failed stages and of all that waits for them."""
    roots = {stage.id for stage in failed}
    return {stage.id for stage in downstream(list(stages), roots)} if roots else set()


def failure_reason(place: Workspace, stage_id: str) -> str:
    try:
        return str(json.loads(place.failure(stage_id).read_bytes())["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"


def clear_failures(place: Workspace, name: str, failed: Iterable[Stage]) -> dict[str, str]:
    """Let the failed stages run again; label -> why each had failed. `name` is the chain's or the sweep's."""
    cleared = {}
    for stage in failed:
        cleared[stage.label] = failure_reason(place, stage.id)
        place.failure(stage.id).unlink(missing_ok=True)
    with Journal.open(place, f"command-{os.getpid()}") as journal:
        journal.append("chain.retried", chain=name, cleared=cleared)
    return cleared


def failures_in_words(
    place: Workspace,
    plans: Sequence[Plan],
    failed: Sequence[Stage],
    way_out: str | None = None,
    *,
    told_to: bool = False,
) -> Iterator[str]:
    """Which stage of which chains, why, what waits for it, what to do: `way_out`, else a retry of a chain or of all.

    Nothing where nothing failed; no way out where it is `told_to` try again. At most 100 columns, but for the names of
    chains in commands.
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
    if shown and told_to:
        yield "  tried again"
    elif shown:
        everything = ["detour submit ... --retry"] if len(plans) > 1 else []
        yield f"  {LEFT_OUT}"
        yield from (
            f"    {command}" for command in ([way_out] if way_out else [*_retries(place, needed_by), *everything])
        )


def _retries(place: Workspace, needed_by: dict[str, list[str]]) -> list[str]:
    """By chains that the workspace knows: of this plan, or those that brought the stage in under another name."""
    known = set(chain_names(place))
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
