"""`detour bench` as a person calls it."""

from __future__ import annotations

from detour.launch.bench import command
from tests.support.invoking import invoke


def test_a_phase_that_the_recipe_does_not_have_is_refused_with_those_it_has() -> None:
    result = invoke(command, "quickstart", "--phase", "clm", "--phase", "mml")
    assert (result.exit_code, "no phase 'mml'; available: clm, mlm" in result.output) == (2, True)
