"""`detour bench` as a user calls it."""

from __future__ import annotations

from detour.errors import UserError
from detour.launch.bench import command
from tests.support.invoking import invoke


def test_an_unknown_phase_is_answered_with_those_of_the_recipe() -> None:
    result = invoke(command, "quickstart", "--phase", "clm", "--phase", "mml")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "no phase 'mml'; available: clm, mlm"
