"""Verdicts for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from detour.diagnosis.findings import Place
from detour.diagnosis.pending import Link
from detour.diagnosis.rules import Retry
from detour.diagnosis.verdict import Candidate, one_line
from detour.launch.text.overview import clock
from detour.monitoring.reasons import wait_of
from detour.orchestration.why import Earlier, Pending, Why
from detour.planning.files import StageOutline
from detour.text import counted, format_duration, plain, wrapped

if TYPE_CHECKING:
    from detour.orchestration.held import Held
    from detour.orchestration.remedy import Remedies

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


def left_out_line(found: Sequence[Why], status: str) -> str:
    """How many stages have no verdict, with the command that lists them; empty if all have one."""
    left = sum(one.left_out for one in found)
    return f"{counted(left, 'other stage')} in the same state; `{status}` lists them" if left else ""


def why_json(found: Sequence[Why], *, is_bundle: bool) -> Any:
    """A bundle's verdict only; otherwise a list with one entry per stage."""
    if is_bundle:
        return found[0].verdict.to_json()
    return [
        {
            "stage": one.stage.id if one.stage else None,
            "label": one.stage.label if one.stage else None,
            "chains": list(one.chains),
            "job": one.found.job,
            **one.verdict.to_json(),
            "pending": asdict(one.pending) if one.pending else None,
            "earlier": _earlier_json(one.earlier) if one.earlier else None,
            "room": one.room,
            "held": asdict(one.held) if one.held else None,
        }
        for one in found
    ]


def _lines(one: Why, width: int) -> Iterator[str]:
    first = one.verdict.first
    subject = f"{_subject(one.stage, one)}: " if one.stage else ""
    yield from wrapped(plain(f"{subject}{first.title} [{first.cause}], confidence {first.confidence}"), "", width)
    for place in first.evidence[:1]:
        yield from wrapped(f"{_where(place)}{plain(one_line(place.text))}", "  ", width, QUOTE_LINES)
    yield from wrapped(plain(f"{first.advice} ({RETRY[first.retry]})"), "  ", width)
    if one.room is not None:
        yield from wrapped(f"still running: {one.room}", "  ", width)
    if one.held is not None:
        yield from wrapped(_held(one.held), "  ", width)
    if one.pending is not None:
        for text in _pending(one.pending, is_held=first.cause == "held"):
            yield from wrapped(plain(text), "  ", width, 3)
    if one.earlier is not None:
        for text in _earlier(one.earlier):
            yield from wrapped(plain(text), "  ", width, QUOTE_LINES)
    for other in one.verdict.others[:OTHERS_SHOWN]:
        yield from wrapped(plain(_other(other)), "  ", width, 2)
    for source, reason in one.verdict.unreadable.items():
        yield from wrapped(plain(f"unreadable: {source}: {reason}"), "  ", width, 2)


def _subject(stage: StageOutline, one: Why) -> str:
    """`base/pretrain clm (job 7, shared with 2 other chains)`; other verbs find the stage by the first part."""
    facts = [f"job {one.found.job}"] if one.found.job else []
    facts += [f"shared with {counted(len(one.chains) - 1, 'other chain')}"] if len(one.chains) > 1 else []
    return f"{one.chains[0]}/{stage.label}" + (f" ({', '.join(facts)})" if facts else "")


def _pending(pending: Pending, *, is_held: bool) -> Iterator[str]:
    until_eligible, until_start = pending.waits.until_eligible_s, pending.waits.until_start_s
    expected = f"; Slurm expects it to start {_at(pending.starts_s)}" if pending.starts_s else ""
    if until_start is None:
        is_eligible = wait_of(pending.links[0].reason, is_held) == "start"
        known = " since it was submitted" if is_eligible else ", and is not eligible yet"
        yield f"waited {format_duration(until_eligible)}{known}{expected}"
    else:
        first = f"waited {format_duration(until_eligible)} until it was eligible"
        yield f"{first} and {format_duration(until_start)} since then{expected}"
    if len(pending.links) > 1:
        yield "blocked by: " + " <- ".join(map(_link, pending.links))
    if pending.remedies is not None:
        yield from _remedies(pending.remedies)


def _link(link: Link) -> str:
    reason = "" if link.reason in ("", "None") else f": {link.reason}"
    return f"job {link.job} ({link.state}{reason})"


def _earlier(earlier: Earlier) -> Iterator[str]:
    first = earlier.verdict.first
    in_job = f" (job {earlier.job})" if earlier.job else ""
    quote = f": {first.quote}" if first.quote else ""
    yield f"before that, attempt {earlier.attempt}{in_job}: {first.title} [{first.cause}]{quote}"
    yield f"{first.advice} ({RETRY[first.retry]})"


def _earlier_json(earlier: Earlier) -> dict[str, Any]:
    return {"attempt": earlier.attempt, "job": earlier.job, **earlier.verdict.to_json()}


def _held(held: Held) -> str:
    by = f" by {plain(held.by)}" if held.by else ""
    how = f"`{held.release}` releases" if held.release else "only the site can release"
    them = "it" if len(held.stages) == 1 else "them"
    return f"held{by}: {counted(len(held.stages), 'other stage')} will not start; {how} {them}"


def _remedies(remedies: Remedies) -> Iterator[str]:
    now, best = remedies.as_submitted, remedies.best
    if best is not None:
        before = f", {_at(now.starts_s)} as submitted" if now.starts_s else ""
        yield f"tried: with {' '.join(best.options)} it would start {_at(best.starts_s)}{before}"
    elif remedies.tried:
        yield f"tried without gain: {', '.join(' '.join(one.options) for one in remedies.tried)}"


def _at(at_s: float | None) -> str:
    return "unknown" if at_s is None else clock(at_s)


def _where(place: Place) -> str:
    return f"log line {place.line}: " if place.line is not None else ""


def _other(other: Candidate) -> str:
    if other.explained_by is None:
        sign = "a weaker sign" if other.confidence == "low" else "also possible"
        return f"{sign}: {other.title} [{other.cause}]: {other.quote}"
    return f"not the cause ({other.explained_by}): {other.title}: {other.quote}"
