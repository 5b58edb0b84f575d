"""Findings of a card's check: a claim holds, differs from its figures, or cannot be checked."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from detour.text import bare_number

Verdict = Literal["holds", "differs", "computed", "unknown"]
MAY_BE_ROUNDED = "before they were rounded, they may have given it"


class Finding(NamedTuple):
    verdict: Verdict
    """`computed`: the card makes no such claim. `unknown`: it cannot be checked."""
    sentence: str
    line: int | None = None


def agrees(stated: str, value: float, slack: float = 0.0) -> bool:
    """Whether a figure as written (`0.46`, `61.6`, `1,000`) is `value` rounded; `value` may be off by `slack`."""
    bare = bare_number(stated)
    half: float = 0.5 * 10.0 ** -len(bare.partition(".")[2])
    return abs(float(bare) - value) <= half + slack + 1e-9


def bare_name(name: str) -> str:
    """Return only the letters and digits outside brackets, by which names are compared."""
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"\([^)]*\)", "", name.casefold()))
