"""Check a card's p-values against the tests over tasks that its own table allows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from detour.cards.findings import Finding
from detour.statistics.comparison import OverTasks, Pair
from detour.statistics.verdicts import p_value

P_CLAIM = re.compile(
    r"(?<![\w-])p\s*(?:(?:-?\s*values?)?\s*(?P<sign>[=≈~<≤>≥])|-?\s*values?\s*(?:of|is|:))\s*(?P<digits>\d*\.?\d+)"
    r"(?:(?:e|\s*[×x]\s*10\s*\^?)\s*\{?(?P<power>[-−⁻]\s?[\d⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))?",
    re.IGNORECASE,
)
OTHER_P = re.compile(
    r"\b(?:dropout|mask\w*|nucleus|sampl\w*)(?: (?:of|with|at|rate|probability)){0,2}[ (,]*$", re.IGNORECASE
)
"""Words before a probability that is no p-value."""
SIDE = re.compile(r"\b(one|two|1|2)[- ](?:sided|tailed)\b", re.IGNORECASE)
SIDES = {"1": "one-sided", "one": "one-sided", "2": "two-sided", "two": "two-sided"}
OVER_SEEDS = re.compile(r"\b(?:t[- ]tests?|bootstrap|permutation|McNemar|Mann|over (?:the )?seeds)\b", re.IGNORECASE)
"""Tests that need more data than the table has."""
PLAIN_DIGITS = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")
BEHIND = 30
"""Number of characters after a p-value in which to look for its side, if a sentence names both."""

Sided = Mapping[str, float | None]
"""Side -> p."""


def p_findings(line: int, text: str, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Check each p-value in a sentence about these pairs; its test is named in the same clause."""
    if OVER_SEEDS.search(text):
        if stated := [_written(claim) for claim in P_CLAIM.finditer(text)]:
            sentence = f"{', '.join(stated)}: of a test over seeds or documents, which no table shows"
            yield Finding("unknown", sentence, line)
        return
    for clause in text.split(";"):
        test = "Wilcoxon" if "wilcoxon" in clause.lower() else "sign"
        for claim in P_CLAIM.finditer(clause):
            if OTHER_P.search(clause, 0, claim.start()):
                continue
            yield _finding(line, claim, pairs, _side(claim, clause), test)


def _finding(line: int, claim: re.Match[str], pairs: Sequence[Pair], side: str | None, test: str) -> Finding:
    stated = " ".join(filter(None, (_written(claim), side)))
    tested = [(pair, found, _p_values(found, test)) for pair in pairs if (found := pair.over_tasks) is not None]
    for pair, found, p_values in tested:
        for of_side, p in p_values.items():
            if p is not None and side in (None, of_side) and _fits(claim, p):
                (other,) = p_values.keys() - {of_side}
                fit_both = all(value is not None and _fits(claim, value) for value in p_values.values())
                doubt = "" if side or fit_both else ", and the card should say which it means"
                sentence = (
                    f"{_written(claim)} is the {of_side} {test} test of {pair.first} against {pair.second} "
                    f"({found.signs.wins} of {found.tasks} tasks), {four_decimals(p)}; {other} it is "
                    f"{four_decimals(p_values[other])}{doubt}"
                )
                return Finding("holds", sentence, line)
    if not tested:
        return Finding("unknown", f"{stated}: the table has too few tasks for a test over tasks", line)
    both = (f"{pair.second} {' / '.join(map(four_decimals, p_values.values()))}" for pair, _, p_values in tested)
    return Finding("differs", f"{stated}: {test} tests give (one-sided / two-sided) {', '.join(both)}", line)


def _p_values(found: OverTasks, test: str) -> Sided:
    """Return the p-values of a test; Wilcoxon's one-sided p is half the two-sided one, for the side of the ranks."""
    if test == "sign":
        return {"one-sided": found.signs.p_one_sided, "two-sided": found.signs.p_two_sided}
    p = found.p_wilcoxon
    return {"one-sided": None if p is None else p / 2, "two-sided": p}


def _side(claim: re.Match[str], text: str) -> str | None:
    named = {SIDES[found[1].lower()] for found in SIDE.finditer(text)}
    if len(named) == 1:
        return named.pop()
    behind = SIDE.search(text, claim.end(), claim.end() + BEHIND)
    return SIDES[behind[1].lower()] if behind else None


def _fits(claim: re.Match[str], p: float) -> bool:
    digits, power = claim["digits"], (claim["power"] or "0").replace(" ", "").translate(PLAIN_DIGITS)
    stated = float(f"{digits}e{power}")
    if claim["sign"] and claim["sign"] in "<≤":
        return p <= stated
    if claim["sign"] and claim["sign"] in ">≥":
        return p >= stated
    return abs(stated - p) <= 0.5 * 10.0 ** (int(power) - len(digits.partition(".")[2])) + 1e-12


def _written(claim: re.Match[str]) -> str:
    sign = {"≤": "<", "<": "<", "≥": ">", ">": ">"}.get(claim["sign"] or "=", "=")
    power = f"e{claim['power'].replace(' ', '')}" if claim["power"] else ""
    return f"p {sign} {claim['digits']}{power}"


def four_decimals(p: float | None) -> str:
    """Format a p-value with four decimals, smaller ones as `p_value` does."""
    return p_value(p) if p is None or p < 1e-4 else f"{p:.4f}"
