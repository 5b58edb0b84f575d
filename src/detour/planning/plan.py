"""A chain with its stages and keys, before anything runs: the content of plan.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detour.planning.stage import PretrainStage, Stage


@dataclass(frozen=True, slots=True)
class Plan:
    """One chain, ordered so that every stage comes after its inputs."""

    chain: str
    stages: tuple[Stage, ...]
    missing: tuple[str, ...] = ()
    """What was not found on this machine; a plan with missing files can be read and priced, but not run."""

    def to_json(self, *, stages: bool = True) -> dict[str, Any]:
        plan: dict[str, Any] = {
            "chain": self.chain,
            "phases": {
                stage.phase: {
                    "tokens": stage.runtime.tokens,
                    "steps": stage.runtime.steps,
                    "warmup_steps": stage.runtime.warmup_steps,
                    "step_tokens": stage.settings.step_tokens,
                    "first_row": stage.settings.first_row,
                }
                for stage in self.stages
                if isinstance(stage, PretrainStage)
            },
            "missing": list(self.missing),
        }
        return plan | ({"stages": [stage.to_json() for stage in self.stages]} if stages else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Raises KeyError, TypeError or ValueError if the data is not a plan."""
        stages = tuple(map(Stage.from_json, data["stages"]))
        return cls(data["chain"], stages, tuple(data.get("missing", ())))
