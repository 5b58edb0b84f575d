"""Learning rates as pure functions of the step, so that no schedule has to be saved or restored.

Steps count from 0 within the phase: a resumed phase gets the same rate for the same step, and every phase starts at
step 0 of its own schedule.
"""

from __future__ import annotations

from math import sqrt

from detour.config.models import OneMinusSqrt, WarmupConstant


def warmup_constant(step: int, warmup_steps: int) -> float:
    """Fraction of the peak rate: linear, never 0, and 1 from the last of `warmup_steps` steps on."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def one_minus_sqrt(step: int, steps: int, floor: float) -> float:
    """Fraction of the peak rate: from 1 at the first step towards `floor` at the end, along 1 - sqrt(step / steps)."""
    return floor + (1.0 - floor) * (1.0 - sqrt(step / steps))


def lr_factor(schedule: WarmupConstant | OneMinusSqrt, step: int, steps: int, warmup_steps: int) -> float:
    """Fraction of the recipe's `lr` used in step `step` of `steps`."""
    if isinstance(schedule, WarmupConstant):
        return warmup_constant(step, warmup_steps)
    return one_minus_sqrt(step, steps, schedule.floor)
