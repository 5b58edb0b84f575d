"""The result of comparing a profile with reality: a verdict, both sides, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

Verdict = Literal["problem", "warning", "unknown", "ok"]
VERDICTS: tuple[Verdict, ...] = ("problem", "warning", "unknown", "ok")
"""Worst first."""
MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison."""

    subject: str
    verdict: Verdict
    profile: str | None = None
    """What the profile says, for people; None if nothing."""
    site: str | None = None
    """What is so at the site; None if it gives no answer."""
    advice: str = ""
    change: Mapping[str, Any] = field(default_factory=dict)
    """What to write in a profile that extends this one; a value of None removes the key."""


def limit_finding(
    subject: str,
    ours: int | None,
    theirs: int | None,
    show: Callable[[int], str],
    change: Callable[[int], Mapping[str, Any]],
    advice: str = "jobs that request more are refused or wait forever",
) -> Finding:
    """Compare a limit that the profile may undercut, as a person may want, but not exceed; None is no limit."""
    said = ("no limit" if ours is None else show(ours), "no limit" if theirs is None else show(theirs))
    if theirs is None or (ours is not None and ours <= theirs):
        return Finding(subject, "ok", *said)
    return Finding(subject, "warning" if ours is None else "problem", *said, advice, change(theirs))


def shorter(*limits: int | None) -> int | None:
    """The limit that applies; None if there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def longest(limits: Iterable[int | None]) -> int | None:
    """The largest value; None if one of them has no limit."""
    known = list(limits)
    return None if None in known else max((limit for limit in known if limit is not None), default=None)


def merged_changes(findings: Iterable[Finding]) -> dict[str, Any]:
    """All changes as one document; the first change of a key counts."""
    document: dict[str, Any] = {}
    for finding in findings:
        _lay_below(document, finding.change)
    return document


def _lay_below(document: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if not isinstance(value, Mapping):
            document.setdefault(key, value)
        elif isinstance(below := document.setdefault(key, {}), dict):
            _lay_below(below, value)


def listed(there: Iterable[str], like: str = "") -> str:
    """Names as part of a sentence; if there are many, those most like `like`."""
    names = sorted(there)
    if len(names) <= MOST_NAMES:
        return ", ".join(names) or "none"
    shown = get_close_matches(like, names, MOST_NAMES, 0.0)
    return f"{', '.join(shown)} and {len(names) - len(shown)} more"
