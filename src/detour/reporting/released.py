"""The models that count as released, and the stages that they descend from or that evaluated them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from detour.config.project import Project
from detour.ledger.workspace import Workspace
from detour.planning.selection import known_chains
from detour.reporting.data import Chain
from detour.reporting.gather import Gathered
from detour.reporting.outputs import exports_in_production
from detour.reporting.purpose import lineage
from detour.text import listed

MOST_NAMES = 4


class Released(NamedTuple):
    chains: list[str]
    """Those of the report."""
    final: Collection[str]
    """Ids of stages of the report that a released model descends from, even one of another chain, or that evaluated
    one."""
    unknown: list[str]
    """Names in the project that no chain has."""

    @property
    def warnings(self) -> list[str]:
        if not self.unknown:
            return []
        return [f"the project counts {listed(self.unknown, MOST_NAMES)} as released, but no chain has this name"]


def released_of(
    workspace: Workspace, chains: Sequence[Chain], gathered: Mapping[str, Gathered], project: Project | None
) -> Released:
    """Return the released chains: those of the project, otherwise those in production, otherwise all exported ones.

    Plans of other chains are only read if one of them is released.
    """
    named = frozenset(project.released if project is not None else ())
    exports = set[str]() if named else exports_in_production(workspace)
    ours = [
        chain
        for chain in chains
        if chain.model is not None
        and (chain.name in named if named else not exports or not exports.isdisjoint(chain.stages))
    ]
    exports |= {stage for chain in ours for stage in chain.stages if gathered[stage].stage.kind == "export"}
    inputs: dict[str, Mapping[str, str]] = {stage: one.planned.inputs for stage, one in gathered.items()}
    elsewhere, unknown = named.difference(chain.name for chain in chains), list[str]()
    if elsewhere or not inputs.keys() >= exports:
        known = known_chains(workspace)
        inputs = {stage.id: stage.inputs for stage in known.stages.values()} | inputs
        unknown = [] if known.unreadable else sorted(elsewhere - known.chains.keys())
        stages = (stage for name in elsewhere & known.chains.keys() for stage in known.chains[name].stages)
        exports |= {stage.id for stage in stages if stage.kind == "export" and _is_done(workspace, stage.id)}
    return Released([chain.name for chain in ours], lineage(exports, inputs), unknown)


def _is_done(workspace: Workspace, stage: str) -> bool:
    try:
        return workspace.is_done(stage)
    except OSError:
        return False
