"""The curve of spending over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.budgets.burn import Piece, used
from detour.reporting.burns import POINTS, curve

pieces = st.lists(
    st.builds(
        lambda start_s, length_s, amount: Piece(start_s, start_s + length_s, amount),
        st.floats(-100, 1100),
        st.floats(1, 500),
        st.floats(0, 50),
    ),
    max_size=20,
)


@given(pieces)
def test_the_curve_agrees_with_the_burn_down(spent: list[Piece]) -> None:
    points = curve(spent, 0.0, 1000.0)
    assert len(points) == POINTS
    assert points[-1][0] == 1000.0
    for at_s, amount in points[:: POINTS // 6]:
        assert amount == pytest.approx(used(spent, 0.0, at_s), abs=1e-6)


def test_an_expense_of_no_duration_is_used_at_once() -> None:
    assert curve([Piece(10.0, 10.0, 3.0)], 0.0, 100.0)[-1][1] == pytest.approx(3.0)
