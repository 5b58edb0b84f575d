"""What a comparison of a profile with the truth comes to: a verdict, both sides, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

Verdict = Literal["problem", "warning", "unknown", "ok"]
VERDICTS: tuple[Verdict, ...] = ("problem", "warning", "unknown", "ok")
"""The worst first."""
MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison."""

    subject: str
    verdict: Verdict
    profile: str | None = None
    """What the profile says, for people; None: nothing."""
    site: str | None = None
    """What is so; None: nothing is said."""
    advice: str = ""
    change: Mapping[str, Any] = field(default_factory=dict)
    """What to write in a profile that extends this one; None as a value removes."""


def limit_finding(
    subject: str,
    ours: int | None,
    theirs: int | None,
    show: Callable[[int], str],
    change: Callable[[int], Mapping[str, Any]],
    advice: str = "jobs that ask for more are refused or wait forever",
) -> Finding:
    """A limit that the profile may undercut, which is a person's wish, but not exceed; None is no limit."""
    said = ("no limit" if ours is None else show(ours), "no limit" if theirs is None else show(theirs))
    if theirs is None or (ours is not None and ours <= theirs):
        return Finding(subject, "ok", *said)
    return Finding(subject, "warning" if ours is None else "problem", *said, advice, change(theirs))


def shorter(*limits: int | None) -> int | None:
    """The limit that holds; None where there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def longest(limits: Iterable[int | None]) -> int | None:
    """The most that is asked for; None as soon as one has no limit."""
    known = list(limits)
    return None if None in known else max((limit for limit in known if limit is not None), default=None)


def merged_changes(findings: Iterable[Finding]) -> dict[str, Any]:
    """All changes as one document; of two for one key the first holds."""
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
    """Names in a sentence; of many, those most like the one looked for."""
    names = sorted(there)
    if len(names) <= MOST_NAMES:
        return ", ".join(names) or "none"
    shown = get_close_matches(like, names, MOST_NAMES, 0.0)
    return f"{', '.join(shown)} and {len(names) - len(shown)} more"
