"""Check a card's claims of differences in points, on average or on the tasks that the sentence names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from detour.cards.findings import MAY_BE_ROUNDED, Finding, agrees
from detour.statistics.comparison import Comparison, Pair
from detour.statistics.scores import ScoreTable, rounding_slack
from detour.statistics.tables import rounded
from detour.statistics.verdicts import signed

UNIT = r"\s*(?:F1\b|pp\b|%?\s*(?:F1 )?points?\b|pts\b)"
POINTS_CLAIM = re.compile(
    rf"(?:[+]\s?|\b(?:by|gains?(?: of)?|(?:improvement|increase|advantage|margin|lead) of)\s[+]?)(\d+(?:\.\d+)?){UNIT}"
    rf"|(?<![\w.])(\d+(?:\.\d+)?){UNIT}\s(?=better|higher|ahead|above|more|worse|lower|below|behind|less)",
    re.IGNORECASE,
)
BEHIND = re.compile(r"\b(?:worse|lower|below|behind|less|loses?|drops?|trails?)\b", re.IGNORECASE)

NEAR = 40
"""Number of characters around a claim in which such a word is about it."""


class Difference(NamedTuple):
    other: str
    where: str
    """` on TASK`; empty for the averages."""
    exact: float
    shown: float
    """From averages as they are printed."""
    slack: float
    """How far it may be off because the scores are rounded."""

    def __str__(self) -> str:
        return f"{self.other} {signed(self.exact)}{self.where}"


def points_findings(
    line: int, text: str, table: ScoreTable, comparison: Comparison, pairs: Sequence[Pair]
) -> Iterator[Finding]:
    """Check each claim in a sentence about these pairs."""
    claims = list(POINTS_CLAIM.finditer(text))
    ends = [0, *(claim.end() for claim in claims)]
    starts = [*(claim.start() for claim in claims[1:]), len(text)]
    for claim, before, after in zip(claims, ends, starts, strict=False):
        tasks = _named(text[claim.end() : after], comparison) or _named(text[before : claim.start()], comparison)
        found = [one for pair in pairs for one in _differences(pair, table, comparison, tasks)]
        near = text[max(before, claim.start() - NEAR) : min(after, claim.end() + NEAR)]
        yield _finding(line, claim[1] or claim[2], found, -1 if BEHIND.search(near) else 1)


def _named(text: str, comparison: Comparison) -> list[str]:
    return [
        task for task in comparison.tasks if re.search(rf"(?<![\w-]){re.escape(task)}(?![\w-])", text, re.IGNORECASE)
    ]


def _differences(pair: Pair, table: ScoreTable, comparison: Comparison, tasks: Sequence[str]) -> Iterator[Difference]:
    """Yield the difference on each of the tasks, then that of the averages."""
    for one in pair.by_task:
        if one.task in tasks and one.mean is not None:
            yield Difference(pair.second, f" on {one.task}", one.mean, one.mean, rounding_slack(table, 1, models=2))
    first, second = (comparison.averages[model].mean for model in (pair.first, pair.second))
    if pair.average.mean is not None and first is not None and second is not None:
        shown = float(rounded(first)) - float(rounded(second))
        slack = rounding_slack(table, len(table.tasks), models=2)
        yield Difference(pair.second, "", pair.average.mean, shown, slack)


def _finding(line: int, stated: str, found: Sequence[Difference], side: int) -> Finding:
    """Judge a claim; `side` is -1 if it says that the card's model is behind."""
    for one in found:
        claim, what = f"+{stated}{one.where} against {one.other}", "scores" if one.where else "averages"
        if agrees(stated, side * one.exact):
            doubt = (
                ""
                if agrees(stated, side * one.shown)
                else (f"; the averages as they are printed differ by {one.shown:.1f}")
            )
            return Finding("holds", f"{claim}: the {what} differ by {one.exact:.2f}{doubt}", line)
        if agrees(stated, side * one.shown):
            words = f"from the printed averages; unrounded they differ by {one.exact:.2f}"
            return Finding("holds", f"{claim}: {words}", line)
        if agrees(stated, side * one.exact, one.slack):
            return Finding("unknown", f"{claim}: the {what} differ by {one.exact:.2f}; {MAY_BE_ROUNDED}", line)
    if back := next((one for one in found if agrees(stated, -side * one.exact, one.slack)), None):
        words = "which of the two the sentence calls better cannot be checked"
        return Finding("unknown", f"+{stated}: the scores differ by {back}; {words}", line)
    if not found:
        return Finding("differs", f"+{stated}: scores are missing", line)
    what = "scores" if any(one.where for one in found) else "averages"
    return Finding("differs", f"+{stated}: the {what} differ by {', '.join(map(str, found))}", line)
