"""Many chains as one plan: equal keys are one stage, done once for all chains that need it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from detour.plan.build import Plan
from detour.plan.stage import Stage


@dataclass(slots=True)
class SharedPlan:
    """The distinct stages of several chains, each after its inputs."""

    plans: list[Plan] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    """By id, in the order of first need."""
    uses: dict[str, int] = field(default_factory=dict)
    """Stage id -> how many chains need it."""

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> SharedPlan:
        """Linear in the number of stages."""
        shared = cls()
        for plan in plans:
            shared.plans.append(plan)
            for stage in plan.stages:
                shared.stages.setdefault(stage.id, stage)
                shared.uses[stage.id] = shared.uses.get(stage.id, 0) + 1
        return shared

    @property
    def needed(self) -> int:
        """Stages that the chains would run if each ran alone."""
        return sum(self.uses.values())

    @property
    def saved(self) -> int:
        """Stages that sharing spares."""
        return self.needed - len(self.stages)
