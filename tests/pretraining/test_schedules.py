from __future__ import annotations

from itertools import pairwise
from math import sqrt

import pytest

from detour.config.models import OneMinusSqrt, WarmupConstant
from detour.pretraining.schedules import lr_factor, one_minus_sqrt, warmup_constant

PUBLISHED_LR, PUBLISHED_STEPS, PUBLISHED_WARMUP = 2e-4, (3179, 318), 32


def test_the_rate_rises_linearly_during_warmup_and_is_then_constant() -> None:
    rates = [PUBLISHED_LR * warmup_constant(step, PUBLISHED_WARMUP) for step in range(PUBLISHED_STEPS[0])]
    assert rates[0] == pytest.approx(PUBLISHED_LR / 32)
    assert rates[15] == pytest.approx(1e-4)
    assert set(rates[31:]) == {PUBLISHED_LR}
    assert rates[:32] == sorted(rates[:32])


def test_without_warmup_the_rate_starts_at_its_peak() -> None:
    assert warmup_constant(0, 0) == 1.0


def test_one_minus_sqrt_decays_from_the_peak_to_a_tenth() -> None:
    steps = PUBLISHED_STEPS[1]
    rates = [PUBLISHED_LR * one_minus_sqrt(step, steps, 0.1) for step in range(steps)]
    assert rates[0] == PUBLISHED_LR
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert PUBLISHED_LR * one_minus_sqrt(steps, steps, 0.1) == pytest.approx(2e-5)
    quarter = 2e-4 * (0.1 + 0.9 * (1 - sqrt(79 / 318)))
    assert rates[79] == pytest.approx(quarter)


@pytest.mark.parametrize("step", [0, 7, 99])
def test_the_schedule_is_the_one_of_the_recipe(step: int) -> None:
    assert lr_factor(WarmupConstant(kind="warmup_constant"), step, 100, 10) == warmup_constant(step, 10)
    assert lr_factor(OneMinusSqrt(kind="one_minus_sqrt", floor=0.2), step, 100, 0) == one_minus_sqrt(step, 100, 0.2)
