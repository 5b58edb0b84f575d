"""What a new plan of a chain takes away: jobs that then belong to no chain, which no verb shows or cancels, and the
sweep that it was part of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detour.grouping import grouped
from detour.ledger.view import LedgerView
from detour.ledger.workspace import marked
from detour.planning.files import ChainOutline, StageOutline, known_outline
from detour.planning.plan import Plan
from detour.planning.selection import known_chains
from detour.scheduler.in_flight import open_jobs
from detour.text import listed

CHAINS_SHOWN = 3


def left_behind(view: LedgerView, plans: Sequence[Plan], sweep: str | None) -> Iterator[str]:
    """Warnings for chains of other sweeps, and for jobs in flight of plans with other settings."""
    known = [(plan, outline) for plan in plans if (outline := known_outline(view.workspace, plan.chain)) is not None]
    yield from _moved([outline for _, outline in known], sweep)
    if earlier := [outline for plan, outline in known if _is_replaced(outline, plan)]:
        yield from _jobs_left(view, plans, earlier)


def _moved(earlier: Sequence[ChainOutline], sweep: str | None) -> Iterator[str]:
    by_sweep = grouped(
        (outline.target.sweep, outline.chain)
        for outline in earlier
        if sweep and outline.target.sweep and outline.target.sweep != sweep
    )
    for other, chains in by_sweep.items():
        yield (
            f"{listed(chains, CHAINS_SHOWN)} {'was' if len(chains) == 1 else 'were'} part of the sweep {other}, and "
            f"now belong{'s' if len(chains) == 1 else ''} to {sweep}: `names` with {{sweep}} keeps the sweeps apart"
        )


def _jobs_left(view: LedgerView, plans: Sequence[Plan], earlier: Sequence[ChainOutline]) -> Iterator[str]:
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


def _is_replaced(outline: ChainOutline, plan: Plan) -> bool:
    """Whether the earlier plan has stages that the new one has not."""
    new = {stage.id for stage in plan.stages}
    return any(stage.id not in new for stage in outline.stages)


def _unfinished(view: LedgerView, outline: ChainOutline) -> Iterator[StageOutline]:
    """Stages that neither ended nor were cancelled, nor wait for one that did not succeed."""
    workspace, gone = view.workspace, set[str]()
    for stage in outline.stages:
        is_cancelled = view.state.stage(stage.id).is_cancelled
        if is_cancelled or marked(workspace.has_failed, stage.id) or not gone.isdisjoint(stage.inputs.values()):
            gone.add(stage.id)
        elif not marked(workspace.is_done, stage.id):
            yield stage
