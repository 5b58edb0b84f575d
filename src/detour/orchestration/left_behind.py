"""Jobs that a new plan of a chain leaves in the queue: they belong to no chain, so no verb shows or cancels them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detour.errors import UserError
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace, marked
from detour.planning.files import ChainOutline, StageOutline, read_plan_outline
from detour.planning.plan import Plan
from detour.planning.selection import known_chains
from detour.scheduler.in_flight import open_jobs
from detour.text import listed

CHAINS_SHOWN = 3


def left_behind(view: LedgerView, plans: Sequence[Plan]) -> Iterator[str]:
    """A warning if chains were planned with other settings before, and jobs of these plans may be in flight."""
    earlier = [outline for plan in plans if (outline := _replaced(view.workspace, plan)) is not None]
    if not earlier:
        return
    renewed = {plan.chain for plan in plans}
    others = (outline for name, outline in known_chains(view.workspace).chains.items() if name not in renewed)
    kept = {stage.id for plan in plans for stage in plan.stages} | {stage.id for one in others for stage in one.stages}
    jobs = open_jobs(view)
    dropped = {
        stage.id: outline.chain
        for outline in earlier
        for stage in _unfinished(view, outline)
        if stage.id not in kept and stage.id in jobs
    }
    sent = {job.job_id: job for stage in dropped for job in jobs[stage] if job.job_id}
    ids = [part for job_id in sorted(sent, key=int) for part in sent[job_id].ids_for(dropped)]
    if ids:
        chains = list(dict.fromkeys(dropped.values()))
        yield (
            f"{listed(chains, CHAINS_SHOWN)} {'was' if len(chains) == 1 else 'were'} planned with other settings "
            "before, and jobs of that plan, which no chain needs any more, may go on: "
            f"`scancel {' '.join(ids)}` stops them"
        )


def _replaced(workspace: Workspace, plan: Plan) -> ChainOutline | None:
    """The chain's earlier plan if it has stages that the new one has not."""
    try:
        outline = read_plan_outline(workspace, plan.chain)
    except UserError:
        return None
    new = {stage.id for stage in plan.stages}
    return None if all(stage.id in new for stage in outline.stages) else outline


def _unfinished(view: LedgerView, outline: ChainOutline) -> Iterator[StageOutline]:
    """Stages that neither ended nor were cancelled, nor wait for one that did not succeed."""
    workspace, gone = view.workspace, set[str]()
    for stage in outline.stages:
        known = view.state.stages.get(stage.id)
        is_cancelled = known is not None and known.is_cancelled
        if is_cancelled or marked(workspace.has_failed, stage.id) or not gone.isdisjoint(stage.inputs.values()):
            gone.add(stage.id)
        elif not marked(workspace.is_done, stage.id):
            yield stage
