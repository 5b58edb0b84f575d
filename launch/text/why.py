"""Verdicts for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from detour.diagnosis.findings import Place
from detour.diagnosis.rules import Retry
from detour.diagnosis.verdict import Candidate
from detour.orchestration.why import Why
from detour.text import plain, wrapped

RETRY: dict[Retry, str] = {
    "yes": "a retry can help",
    "no": "a retry changes nothing",
    "after-change": "a retry helps only after a change",
    "unknown": "whether a retry helps is not known",
}
QUOTE_LINES = 4
OTHERS_SHOWN = 3


def why_lines(found: Sequence[Why], width: int) -> Iterator[str]:
    for index, one in enumerate(found):
        if index:
            yield ""
        yield from _lines(one, width)


def why_json(found: Sequence[Why], *, is_bundle: bool) -> Any:
    """Of a bundle its verdict alone; else a list with one entry a stage."""
    if is_bundle:
        return found[0].verdict.to_json()
    return [
        {
            "stage": one.stage.id if one.stage else None,
            "label": one.stage.label if one.stage else None,
            "chains": list(one.chains),
            "job": one.found.job,
            **one.verdict.to_json(),
        }
        for one in found
    ]


def _lines(one: Why, width: int) -> Iterator[str]:
    first = one.verdict.first
    job = f" (job {one.found.job})" if one.found.job else ""
    subject = f"{one.stage.label}{job}: " if one.stage else ""
    yield from wrapped(plain(f"{subject}{first.title} [{first.cause}], confidence {first.confidence}"), "", width)
    for place in first.evidence[:1]:
        yield from wrapped(f"{_where(place)}{plain(place.text)}", "  ", width, QUOTE_LINES)
    yield from wrapped(plain(f"{first.advice} ({RETRY[first.retry]})"), "  ", width)
    for other in one.verdict.others[:OTHERS_SHOWN]:
        yield from wrapped(plain(_other(other)), "  ", width, 2)
    for source, reason in one.verdict.unreadable.items():
        yield from wrapped(plain(f"unreadable: {source}: {reason}"), "  ", width, 2)


def _where(place: Place) -> str:
    return f"log line {place.line}: " if place.line is not None else ""


def _other(other: Candidate) -> str:
    if other.explained_by is None:
        return f"also possible: {other.title} [{other.cause}]: {other.quote}"
    return f"not the cause ({other.explained_by}): {other.title}: {other.quote}"
