"""Convert tokens to steps: the arithmetic that planning and training must agree on."""

from __future__ import annotations

from dataclasses import dataclass

from detour.config.models import Phase, Recipe, WarmupConstant


def steps_for_tokens(tokens: int, step_tokens: int) -> int:
    """Return the whole steps that cover at least `tokens`: 10 B at 3,145,728 tokens per step are 3,179 steps."""
    return -(-tokens // step_tokens)


@dataclass(frozen=True, slots=True)
class PhaseSteps:
    """A phase in optimizer steps."""

    step_tokens: int
    steps: int
    warmup_steps: int
    first_row: int
    """Packed rows that earlier phases consumed since the last restart; the phase continues from there."""

    @property
    def tokens(self) -> int:
        """Tokens actually seen: the planned ones, rounded up to a whole step."""
        return self.steps * self.step_tokens


def phase_steps(recipe: Recipe) -> dict[str, PhaseSteps]:
    """Return phase name -> its steps, in the recipe's order."""
    first_row = 0
    planned = {}
    for phase in recipe.phases:
        steps = steps_for_tokens(phase.tokens, recipe.step_tokens)
        first_row = 0 if phase.data == "restart" else first_row
        planned[phase.name] = PhaseSteps(recipe.step_tokens, steps, warmup_steps(phase, recipe.step_tokens), first_row)
        first_row += steps * recipe.batch.sequences
    return planned


def warmup_steps(phase: Phase, step_tokens: int) -> int:
    if not isinstance(phase.schedule, WarmupConstant):
        return 0
    return steps_for_tokens(phase.schedule.warmup, step_tokens)
