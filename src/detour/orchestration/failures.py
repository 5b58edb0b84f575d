"""Stages that failed permanently in an earlier run: left out with their dependents until a retry clears them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from detour.files import write_atomic
from detour.grouping import grouped
from detour.ledger.events import ChainRetried
from detour.ledger.folders import refuse_links
from detour.ledger.journal import command_journal
from detour.ledger.workspace import Workspace
from detour.planning.order import downstream
from detour.planning.plan import Plan
from detour.planning.selection import known_chains
from detour.planning.stage import Stage


@dataclass(frozen=True, slots=True)
class Failure:
    """A stage of a plan that failed permanently."""

    stage: Stage
    reason: str
    chains: tuple[str, ...]
    """The chains of the plan that need it."""
    dependents: int
    """How many stages of the plan wait for it, directly or not."""
    retry_chain: str | None
    """A chain of the workspace through which `detour retry` reaches it: one of the plan's, or else one that has it."""


def failed_stages(workspace: Workspace, stages: Iterable[Stage]) -> list[Stage]:
    return [stage for stage in stages if not workspace.is_done(stage.id) and workspace.has_failed(stage.id)]


def failures_of(workspace: Workspace, plans: Sequence[Plan]) -> list[Failure]:
    """Every failed stage of the plans, once, in plan order."""
    stages = {stage.id: stage for plan in plans for stage in plan.stages}
    failed = failed_stages(workspace, stages.values())
    if not failed:
        return []
    needed_by = grouped((stage.id, plan.chain) for plan in plans for stage in plan.stages)
    known = known_chains(workspace)
    elsewhere = known.needed_by()
    return [
        Failure(
            stage,
            failure_reason(workspace, stage.id),
            tuple(needed_by[stage.id]),
            len(downstream(list(stages.values()), [stage.id])) - 1,
            next((one for one in (*needed_by[stage.id], *elsewhere.get(stage.id, ())) if one in known.chains), None),
        )
        for stage in failed
    ]


def with_dependents(stages: Iterable[Stage], failed: Iterable[Stage]) -> set[str]:
    """Ids of the failed stages and their dependents."""
    roots = {stage.id for stage in failed}
    return {stage.id for stage in downstream(list(stages), roots)} if roots else set()


def failure_reason(workspace: Workspace, stage_id: str) -> str:
    try:
        return str(json.loads(workspace.failure(stage_id).read_bytes())["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"


def failures_before(workspace: Workspace, failed: Iterable[Stage]) -> dict[str, bytes]:
    """The markers that `clear_failures` removes, by stage id."""
    found = {}
    for stage in failed:
        with suppress(FileNotFoundError):
            found[stage.id] = workspace.failure(stage.id).read_bytes()
    return found


def restore_failures(workspace: Workspace, markers: Mapping[str, bytes]) -> None:
    """Undo `clear_failures` for an order that was refused."""
    for stage_id, content in markers.items():
        refuse_links(workspace.root, workspace.stage(stage_id))
        write_atomic(workspace.failure(stage_id), content)


def clear_failures(workspace: Workspace, name: str, failed: Iterable[Stage]) -> None:
    """Let failed stages run again, and record why each had failed. `name` is that of the chain or sweep."""
    cleared = {}
    for stage in failed:
        refuse_links(workspace.root, workspace.stage(stage.id))
        cleared[stage.label] = failure_reason(workspace, stage.id)
        workspace.failure(stage.id).unlink(missing_ok=True)
    with command_journal(workspace) as journal:
        journal.append(ChainRetried(cleared=cleared), chain=name)
