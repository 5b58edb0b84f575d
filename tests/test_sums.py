"""Sums of figures of which some may be unknown."""

from __future__ import annotations

from detour.sums import complete_sum, known_sum


def test_a_complete_sum_is_unknown_if_any_part_is() -> None:
    assert complete_sum([1, 2]) == 3
    assert complete_sum([1, None]) is None
    assert complete_sum([0.5, 0.0]) == 0.5


def test_a_complete_sum_of_nothing_is_0() -> None:
    assert complete_sum([]) == 0


def test_a_known_sum_leaves_out_unknown_parts_and_is_unknown_without_any_other() -> None:
    assert known_sum([1.0, None, 2.0]) == 3.0
    assert known_sum([0.0, None]) == 0.0
    assert known_sum([None]) is None
    assert known_sum([]) is None
