"""Learning rates as pure functions of the step, so that nothing about a schedule has to be saved or restored.

Steps count from 0 within the phase. A phase that resumes after an interruption asks for the same step and gets the
same rate; a phase that follows another starts at step 0 of its own schedule.
"""

from __future__ import annotations

from math import sqrt

from detour.config.models import OneMinusSqrt, WarmupConstant


def warmup_constant(step: int, warmup_steps: int) -> float:
    """Share of the peak: linear, reached in the last of `warmup_steps` steps; the first step is not a rate of 0."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def one_minus_sqrt(step: int, steps: int, floor: float) -> float:
    """Share of the peak: 1 at the first step, towards `floor` at the end, along 1 - sqrt(step / steps)."""
    return floor + (1.0 - floor) * (1.0 - sqrt(step / steps))


def lr_factor(schedule: WarmupConstant | OneMinusSqrt, step: int, steps: int, warmup_steps: int) -> float:
    """Share of the recipe's `lr` that step `step` of `steps` is made with."""
    if isinstance(schedule, WarmupConstant):
        return warmup_constant(step, warmup_steps)
    return one_minus_sqrt(step, steps, schedule.floor)
