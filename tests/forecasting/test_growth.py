"""The later jobs of large bursts wait longer, as past bursts have shown."""

from __future__ import annotations

import pytest

from detour.forecasting.bursts import Burst
from detour.forecasting.growth import LARGE, LEAST, Growth
from detour.forecasting.waits import HOUR_S, Shape, Wait


def taught(bursts: int, *, jobs: int = 20, growth: float = 0.02, first_s: float = HOUR_S) -> Growth:
    """Growth learned from bursts at time 0 whose job number n waits for `first_s * (1 + growth * n)`."""
    known = Growth()
    for _ in range(bursts):
        burst = Burst("own", 0)
        for number in range(jobs):
            burst.add(Wait(str(number), "own", Shape(4, 3), 0.0, first_s * (1 + growth * number)))
            known.remember(burst)
    return known


def test_a_late_job_waits_longer_and_a_first_one_less_than_the_usual_one() -> None:
    known = taught(LEAST)
    assert known.factor(100, 0.0, 10 * HOUR_S) == pytest.approx(3.0, rel=0.1)
    assert known.factor(0, 50.0, 10 * HOUR_S) == pytest.approx(0.5, rel=0.1)
    assert known.factor(7, 7.0, 10 * HOUR_S) == 1.0


def test_what_has_not_happened_yet_says_nothing() -> None:
    known = taught(LEAST)
    assert known.factor(100, 0.0, 1.3 * HOUR_S) == 1.0
    assert known.factor(100, 0.0, 10 * HOUR_S) > 2
    assert known.factor(100, 0.0, 1.3 * HOUR_S) == 1.0


@pytest.mark.parametrize(
    "known",
    [taught(LEAST - 1), taught(5, jobs=LARGE - 1), taught(5, first_s=10.0), taught(5, growth=-0.02)],
    ids=["few bursts", "small ones", "no wait to speak of", "later jobs wait less"],
)
def test_without_enough_to_learn_from_all_jobs_are_alike(known: Growth) -> None:
    assert known.factor(100, 0.0, 10 * HOUR_S) == 1.0
