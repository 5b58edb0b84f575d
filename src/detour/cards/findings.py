"""What the check of a card finds: a claim holds, differs from what its figures give, or cannot be checked."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Verdict = Literal["holds", "differs", "computed", "unknown"]


class Finding(NamedTuple):
    verdict: Verdict
    """`computed`: the card claims nothing of it. `unknown`: it cannot be checked."""
    sentence: str
    line: int | None = None


def agrees(stated: str, value: float) -> bool:
    """Whether a figure as it is written (`0.46`, `61.6`, `1,000`) is the rounding of `value`, up or down at a half."""
    bare = stated.replace(",", "")
    half: float = 0.5 * 10.0 ** -len(bare.partition(".")[2])
    return abs(float(bare) - value) <= half + 1e-9


def bare_name(name: str) -> str:
    """Letters and digits alone, without what stands in brackets: how names are compared."""
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"\([^)]*\)", "", name.casefold()))
