from detour.budgets.burn import Piece, burn
from detour.rendering.burn_text import note
from detour.reporting.period import period_of
from detour.reporting.report import BurnDown

NOON_S = 1_784_030_400.0
"""2026-07-14 12:00 UTC."""


def note_of(now_s: float, zone: str) -> str:
    one = burn([Piece(NOON_S - 7200, NOON_S - 3600, 4.0)], 0.0, None, now_s, (None, None), zone)
    return note(BurnDown(None, "gpu_hours", "GPU-h", one, []))


def test_a_past_period_is_named_by_its_last_day() -> None:
    for zone in ("UTC", "Europe/Paris", "America/New_York"):
        until_s = period_of("2026-07", None, None, NOON_S, zone).until_s
        assert until_s is not None
        assert note_of(until_s, zone).startswith("4 GPU-h used up to the end of 2026-07-31.")


def test_the_amount_used_so_far_is_dated_today() -> None:
    assert note_of(NOON_S, "UTC").startswith("4 GPU-h used by 2026-07-14.")


def test_an_exceeded_cap_is_compared_with_what_was_used() -> None:
    year = (0.0, 2 * NOON_S)
    one = burn([Piece(0.0, 1.0, 250.0)], 0.0, 200.0, NOON_S, year)
    assert "The cap is exceeded by 50 GPU-h (125 % used)" in note(BurnDown("b", "gpu_hours", "GPU-h", one, []))
