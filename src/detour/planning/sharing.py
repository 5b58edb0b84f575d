"""Combine many chains into one plan, in which stages with equal keys are one stage, run once for all chains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from detour.planning.plan import Plan
from detour.planning.stage import Stage


@dataclass(slots=True)
class SharedPlan:
    """The distinct stages of several chains, each after its inputs."""

    plans: list[Plan] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    """Stages by id, in the order in which they are first needed."""
    uses: dict[str, int] = field(default_factory=dict)
    """Stage id -> number of chains that need it."""

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> SharedPlan:
        """Combine the plans, in time linear in the number of stages."""
        shared = cls()
        stages, uses = shared.stages, shared.uses
        for plan in plans:
            shared.plans.append(plan)
            for stage in plan.stages:
                stage_id = stage.id
                if stage_id in uses:
                    uses[stage_id] += 1
                else:
                    stages[stage_id], uses[stage_id] = stage, 1
        return shared

    @property
    def needed(self) -> int:
        """Number of stages that the chains would run without sharing."""
        return sum(self.uses.values())

    @property
    def saved(self) -> int:
        """Number of stages that sharing saves."""
        return self.needed - len(self.stages)

    @property
    def missing(self) -> tuple[str, ...]:
        """What was not found on this machine, for all chains."""
        return tuple(dict.fromkeys(entry for plan in self.plans for entry in plan.missing))


@dataclass(slots=True)
class Branch:
    """A step that some chains share: the corpus, a phase with its promotion, or the export with its results."""

    stages: tuple[Stage, ...]
    chains: list[str] = field(default_factory=list)
    """Names of the chains that contain this step."""
    branches: dict[tuple[str, ...], Branch] = field(default_factory=dict)
    """Next steps, by the ids of their stages."""


def tree(plans: Iterable[Plan]) -> dict[tuple[str, ...], Branch]:
    """Return chains as a tree: those that begin alike share a trunk, and identical ones are one branch to the end."""
    roots: dict[tuple[str, ...], Branch] = {}
    for plan in plans:
        level = roots
        for step in _steps(plan):
            ids = tuple([stage.id for stage in step])
            if ids not in level:
                level[ids] = Branch(step)
            branch = level[ids]
            branch.chains.append(plan.chain)
            level = branch.branches
    return roots


def _steps(plan: Plan) -> list[tuple[Stage, ...]]:
    """Split a chain into steps: a promotion belongs to its phase, and everything after the last one is one step."""
    steps: list[list[Stage]] = []
    for stage in plan.stages:
        if stage.kind in ("prepare", "pretrain", "export"):
            steps.append([])
        steps[-1].append(stage)
    return [tuple(step) for step in steps]
