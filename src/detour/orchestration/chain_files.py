"""Writes plans into the workspace, so that jobs and readers need nothing but their stage's folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detour.accounting.site import planned_profiles, planned_targets, site_of
from detour.budgets.reserve import facts_of
from detour.config.cluster import Cluster
from detour.config.fields import WITH_UNITS
from detour.config.loading import load_cluster
from detour.config.problems import RecipeError
from detour.files import point_link, write_atomic
from detour.ledger.compaction import tidy
from detour.ledger.events import ChainPlanned
from detour.ledger.folders import make_folder
from detour.ledger.journal import command_journal
from detour.ledger.workspace import Workspace
from detour.orchestration.requests import JobOptions
from detour.planning.files import Target, holds_plan, known_outline, plan_file, write_plan, write_stage
from detour.planning.plan import Plan
from detour.pricing.comparison import chain_priced
from detour.pricing.price import Price


def write_chains(
    workspace: Workspace,
    plans: Sequence[Plan],
    cluster: Cluster,
    prices: Mapping[str, Price] | None = None,
    options: JobOptions | None = None,
    sweep: str | None = None,
) -> None:
    """Write the stage files, then the chains that name them, then the events, so a kill leaves nothing misleading.

    A chain's file also holds the profile, from which all commands take the constants of its jobs, and what a retry
    needs. A chain planned without its `sweep` stays part of it. A stage that another chain brought in keeps its file
    unless its runtime values changed. `prices`, by id of the stages that are still to run, are recorded for `detour
    prices`. Past months of the ledger are compacted on the way.
    """
    tidy(workspace)
    for stage in {stage.id: stage for plan in plans for stage in plan.stages}.values():
        write_stage(workspace, stage)
    target = Target(
        cluster.name,
        site_of(cluster),
        cluster.poll_seconds,
        _as_json(cluster),
        None if options is None else asdict(options),
        cluster.slurm_cluster,
        project=facts_of(cluster, options.account if options else None, None)["project"],
        planned_s=time.time(),
        from_file=not _is_known_by_name(cluster),
    )
    for plan in plans:
        before = known_outline(workspace, plan.chain)
        write_plan(workspace, plan, target._replace(sweep=sweep or (before and before.target.sweep)))
        _link_model(workspace, plan)
    os.sync()
    with command_journal(workspace) as journal:
        for plan in plans:
            stages = [stage.id for stage in plan.stages]
            journal.append(ChainPlanned(cluster=cluster.name, stages=stages), chain=plan.chain)
        if prices:
            name = ", ".join(plan.chain for plan in plans[:3])
            journal.append(chain_priced(name, cluster.name, prices))


def plans_to_write(workspace: Workspace, plans: Sequence[Plan], cluster: Cluster) -> list[Plan]:
    """Return the plans of an order with nothing to run that are to be written: those that the workspace does not hold,
    as a chain may have a new name, and those on this cluster if figures have another version of its profile."""
    held = planned_profiles(planned_targets(workspace)).get(cluster.name)
    is_held = held == _as_json(cluster)

    def is_current(plan: Plan) -> bool:
        if not holds_plan(workspace, plan):
            return False
        outline = known_outline(workspace, plan.chain)
        return is_held or outline is None or outline.target.cluster != cluster.name

    return [plan for plan in plans if not is_current(plan)]


def _as_json(cluster: Cluster) -> dict[str, Any]:
    return cluster.model_dump(mode="json", context=WITH_UNITS, exclude_none=True)


def _is_known_by_name(cluster: Cluster) -> bool:
    try:
        return load_cluster(cluster.name) == cluster
    except RecipeError:
        return False


@dataclass(frozen=True, slots=True)
class ChainBefore:
    """A chain as the workspace had it before `write_chains`; None for what was not there."""

    name: str
    plan: bytes | None
    model: Path | None
    """Where models/<chain> pointed."""


def chains_before(workspace: Workspace, plans: Sequence[Plan]) -> list[ChainBefore]:
    return [
        ChainBefore(
            plan.chain, _content(plan_file(workspace, plan.chain)), _target(workspace.root / "models" / plan.chain)
        )
        for plan in plans
    ]


def restore_chains(workspace: Workspace, before: Sequence[ChainBefore]) -> None:
    """Undo `write_chains` for an order that was refused: jobs of the chains as they were may be in flight."""
    for chain in before:
        if chain.plan is None:
            forget_chains(workspace, [chain.name])
        else:
            write_atomic(plan_file(workspace, chain.name), chain.plan)
            if chain.model is not None:
                _point(workspace, chain.name, chain.model)


def _content(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _target(link: Path) -> Path | None:
    return link.readlink() if link.is_symlink() else None


def forget_chains(workspace: Workspace, chains: Sequence[str]) -> None:
    """Remove what `write_chains` wrote for chains that were refused. Stage files stay: nothing lists them."""
    for chain in chains:
        plan_file(workspace, chain).unlink(missing_ok=True)
        (workspace.root / "models" / chain).unlink(missing_ok=True)
        with suppress(OSError):  # the user keeps something else there
            workspace.chain(chain).rmdir()


def _link_model(workspace: Workspace, plan: Plan) -> None:
    """Create models/<chain>, the link through which people find the encoder. It dangles until the export is done."""
    export = next((stage for stage in plan.stages if stage.kind == "export"), None)
    if export is None:
        return
    _point(workspace, plan.chain, Path("..") / workspace.output(export.id).relative_to(workspace.root))


def _point(workspace: Workspace, chain: str, target: Path) -> None:
    link = workspace.root / "models" / chain
    make_folder(workspace.root, link.parent)
    if _target(link) != target:
        point_link(link, target)
