"""The end of a log, line by line: whose rank a line is, when it was written, how far the work was, which exceptions.

Logs of many ranks are one text: each line may begin with its writer (`[rank5]:`, `5: `, `[default0]:`), and
tracebacks of several ranks are interleaved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_RANK = re.compile(r"^(?:\[(?:rank|default)\s*(?P<a>\d+)\]:?|(?P<b>\d{1,4}):)\s?(?P<rest>.*)$", re.DOTALL)
_CLOCK = re.compile(
    r"(?:\d{4}-(?P<month>\d\d)-(?P<day>\d\d)[T ]|\[?[EWIF](?P<glog>\d{3,4}) )"
    r"(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d(?:[.,]\d{1,9})?)"
)
_PROGRESS = (
    re.compile(r"\[(?:batch|step|iter)=(\d+)/\d+\]"),
    re.compile(
        r"\b(?:global[_ ])?(?:[Ss]tep|[Ii]ter(?:ation)?|[Bb]atch|[Uu]pdate)s?\b\s*[:=\[# ]\s*(\d+)\b(?![.\d]*\d\.)"
    ),
    re.compile(r"\|\s*(\d+)/\d+ \[\d+:\d+"),
)
_NO_PROGRESS = re.compile(r"slurmstepd|srun:|Error|Exception|error:|StepId|signal|[Ss]aved|[Ss]aving|[Rr]esum")
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_EXCEPTION = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?::\s(?P<message>.*)|:?)$")
_NAMED = re.compile(
    r"^(?:\w+\.)*(?P<name>[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failure|Failed)|BadZipFile|StopIteration)(?::\s|$)"
)


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    """From 1."""
    raw: str
    text: str
    """Without its rank."""
    rank: int | None
    clock_s: float | None
    """When it says that it was written; only to be compared with others of the same log."""
    progress: int | None
    """The step that it reports."""
    chain: int | None = None
    """Of a line with an exception: number of its chain, equal for exceptions that were raised from one another."""


def read_lines(raw_lines: Sequence[str]) -> tuple[Line, ...]:
    lines = [_line(number, raw) for number, raw in enumerate(raw_lines, 1)]
    chains = _chains(lines)
    return tuple(
        Line(line.number, line.raw, line.text, line.rank, line.clock_s, line.progress, chains.get(line.number))
        for line in lines
    )


def _line(number: int, raw: str) -> Line:
    match = _RANK.match(raw)
    text = match["rest"] if match else raw
    rank = int(match["a"] or match["b"]) if match else None
    return Line(number, raw, text, rank, _clock_s(text), _progress(text))


def _clock_s(text: str) -> float | None:
    """Without the year, which glog's stamps do not have; None without a date, for a day has many midnights."""
    match = _CLOCK.search(text)
    if match is None:
        return None
    glog = match["glog"]
    month, day = (int(glog[:-2]), int(glog[-2:])) if glog else (int(match["month"]), int(match["day"]))
    seconds = float(match["seconds"].replace(",", "."))
    return ((month * 31 + day) * 24 + int(match["hours"])) * 3600.0 + int(match["minutes"]) * 60 + seconds


def _progress(text: str) -> int | None:
    if _NO_PROGRESS.search(text):
        return None
    found = (pattern.search(text) for pattern in _PROGRESS)
    return next((int(match[1]) for match in found if match), None)


def _chains(lines: Iterable[Line]) -> dict[int, int]:
    """Line number -> chain, for lines that name a raised exception."""
    found: dict[int, int] = {}
    open_traceback: dict[int | None, bool] = {}
    chain: dict[int | None, int] = {}
    linked: dict[int | None, bool] = {}
    for line in lines:
        rank, text = line.rank, line.text.rstrip()
        if text.lstrip().startswith(_TRACEBACK):
            open_traceback[rank] = True
            if not linked.pop(rank, False):
                chain[rank] = line.number
        elif text.strip() in _CHAINED:
            linked[rank] = True
        elif text and not text[0].isspace() and _names_exception(text, in_traceback=open_traceback.get(rank, False)):
            found[line.number] = chain.get(rank, line.number) if open_traceback.pop(rank, False) else line.number
    return found


def _names_exception(text: str, *, in_traceback: bool) -> bool:
    return bool(_NAMED.match(text) or (in_traceback and _EXCEPTION.match(text)))
