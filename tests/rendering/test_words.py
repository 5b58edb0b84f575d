import pytest

from detour.rendering.words import figure, moment


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
