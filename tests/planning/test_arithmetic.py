"""Tokens to steps, against the figures published for the base recipe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.planning.arithmetic import phase_steps, steps_for_tokens
from tests.support.recipes import make_recipe


@pytest.mark.parametrize(("tokens", "steps"), [(10_000_000_000, 3179), (1_000_000_000, 318), (100_000_000, 32)])
def test_published_step_counts(tokens: int, steps: int) -> None:
    assert steps_for_tokens(tokens, 384 * 8192) == steps


@given(st.integers(1, 10**13), st.integers(1, 10**8))
def test_steps_are_the_fewest_that_reach_the_tokens(tokens: int, step_tokens: int) -> None:
    steps = steps_for_tokens(tokens, step_tokens)
    assert (steps - 1) * step_tokens < tokens <= steps * step_tokens


def test_the_second_phase_goes_on_where_the_first_stopped_reading() -> None:
    recipe = make_recipe({"phases.clm.tokens": 10_000, "phases.mlm.tokens": 1_000})
    first, second = phase_steps(recipe).values()
    assert first.first_row == 0
    assert second.first_row == first.steps * recipe.batch.sequences
