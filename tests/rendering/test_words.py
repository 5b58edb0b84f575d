import pytest

from detour.rendering.words import figure


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
