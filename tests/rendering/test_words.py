import pytest

from detour.accounting.energy import Band, EnergyFigure, Method
from detour.rendering.words import figure, moment, obtained
from detour.site import Site


@pytest.mark.parametrize(
    ("hours", "written"),
    [
        (1234.5678, "1,234.57"),
        (-1234.5678, "-1,234.57"),
        (-0.883333, "-0.88"),
        (0.0333333, "0.0333"),
        (-0.001, "-0.001"),
    ],
)
def test_hours_above_and_below_zero_have_the_same_digits(hours: float, written: str) -> None:
    assert figure(hours) == written


def test_a_sum_up_to_midnight_is_dated_the_day_before() -> None:
    first_of_july_s = 1_782_864_000.0
    through = moment(30 * 86_400.0)
    assert (through(first_of_july_s), through(first_of_july_s + 3600)) == ("2026-06-30", "2026-07-01")
    assert moment(3600.0)(first_of_july_s) == "2026-07-01 00:00 UTC"
    assert through(None) == "unknown"


@pytest.mark.parametrize(("covered_s", "written"), [(100.0, "estimated"), (60.0, "estimated, 60 % of the time")])
def test_an_energy_that_leaves_time_out_states_the_share_that_it_covers(covered_s: float, written: str) -> None:
    energy = EnergyFigure(Method.ESTIMATED, Site("anywhere"), Band(0.5, 1.0, 1.5), 100.0, covered_s)
    assert obtained(energy) == written
