"""Values grouped by a key."""

from __future__ import annotations

from detour.grouping import grouped


def test_keys_and_values_stay_in_the_order_in_which_they_come() -> None:
    found = grouped([("b", 3), ("a", 1), ("b", 2), ("b", 3)])
    assert list(found.items()) == [("b", [3, 2, 3]), ("a", [1])]
