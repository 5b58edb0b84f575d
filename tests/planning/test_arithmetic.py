"""Tokens to steps, against the figures published for the base recipe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detour.planning.arithmetic import phase_steps, steps_for_tokens
from tests.support.recipes import BASIC, make_recipe


@pytest.mark.parametrize(("tokens", "steps"), [(10_000_000_000, 3179), (1_000_000_000, 318), (100_000_000, 32)])
def test_step_counts_equal_the_published_ones(tokens: int, steps: int) -> None:
    assert steps_for_tokens(tokens, 384 * 8192) == steps


@given(st.integers(1, 10**13), st.integers(1, 10**8))
def test_steps_are_the_fewest_that_reach_the_tokens(tokens: int, step_tokens: int) -> None:
    steps = steps_for_tokens(tokens, step_tokens)
    assert (steps - 1) * step_tokens < tokens <= steps * step_tokens


def test_the_second_phase_continues_reading_after_the_first() -> None:
    recipe = make_recipe({"phases.clm.tokens": 10_000, "phases.mlm.tokens": 1_000})
    first, second = phase_steps(recipe).values()
    assert first.first_row == 0
    assert second.first_row == first.steps * recipe.batch.sequences


def test_a_phase_that_restarts_reads_from_the_first_row() -> None:
    first, second = BASIC["phases"]
    phases = [first, {**second, "data": "restart"}, {**second, "name": "longer"}]
    recipe = make_recipe({"phases": phases})
    _, restarted, after = phase_steps(recipe).values()
    assert restarted.first_row == 0
    assert after.first_row == restarted.steps * recipe.batch.sequences


def test_the_first_phase_cannot_restart() -> None:
    with pytest.raises(ValidationError, match="the first phase starts at the first row anyway"):
        make_recipe({"phases.clm.data": "restart"})
