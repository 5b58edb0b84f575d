from __future__ import annotations

import json

import pytest

from detour.pretraining.local_attention import is_narrow
from detour.pretraining.window import UNBOUNDED, Window
from tests.pretraining.interpreter import interpreted

WINDOWS = [(64, 0), (20, 70)]


def test_interpreted_kernels_match_outputs_and_gradients_of_exact_attention() -> None:
    errors = interpreted("tests.pretraining.interpreted_attention", json.dumps(WINDOWS))
    assert [len(of_window) for of_window in errors] == [4] * len(WINDOWS)
    assert max(map(max, errors)) < 1e-5


@pytest.mark.parametrize(
    ("window", "narrow"),
    [
        ((64, 0), True),
        ((64, 64), True),
        ((0, 0), True),
        ((256, 0), True),
        ((257, 0), False),
        ((192, 128), False),
        ((UNBOUNDED, 0), False),
        ((UNBOUNDED, UNBOUNDED), False),
    ],
)
def test_local_kernels_are_only_used_for_narrow_windows(window: Window, narrow: bool) -> None:
    assert is_narrow(window) == narrow
