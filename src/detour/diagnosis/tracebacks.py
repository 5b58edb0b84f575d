"""Which lines of a log are Python tracebacks, and which exception was raised from which.

Tracebacks of several ranks are interleaved, and the tail of a log may have lost the beginning of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r"\s+File \".+\", line \d+")
"""Opens a traceback whose beginning is not in the tail of the log."""
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_EXCEPTION = re.compile(
    r"^(?!(?:INFO|DEBUG|WARN|WARNING|ERROR|CRITICAL|FATAL|NOTE)\b)(?=[\w.]*[A-Z.])[A-Za-z_][\w.]*(?::\s.*|:?)$"
)
_NAMED = re.compile(
    r"^(?:.{0,120}\b(?:ERROR|CRITICAL|FATAL|failed:|refused:)\W+|\w+(?:\.\w+)+: )?(?:\w+\.)*"
    r"(?:[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failure|Failed|Invalid|Denied|Mismatch|Timeout)|BadZipFile|StopIteration|"
    r"Exception|(?<=\bexc\.)[A-Z]\w+|(?<=\berrors\.)[A-Z]\w+|(?<=\bexceptions\.)[A-Z]\w+)(?::\s|:?$)"
)
_BOX = re.compile(r"[│╭╰]|\|(?![^|]{0,40}\| (?:Fail\b|GPU \d))")
"""A line in a frame. A row of `dcgmi diag` that reports a bad GPU does not count as one."""


@dataclass(frozen=True, slots=True)
class Tracebacks:
    """What is known about lines, by their numbers."""

    chains: dict[int, int] = field(default_factory=dict)
    """For a line with an exception, the number of its chain: equal for exceptions raised from one another."""
    quoted: set[int] = field(default_factory=set)
    """Source code, and exceptions that Python ignored."""
    within: dict[int, str] = field(default_factory=dict)
    """For a line with an exception, the source code quoted in its traceback."""


def find_tracebacks(lines: Iterable[tuple[int, int | None, str]]) -> Tracebacks:
    """Find tracebacks in lines given as number, rank and text."""
    found = Tracebacks()
    open_code: dict[int | None, list[str]] = {}
    linked: set[int | None] = set()
    ignored: set[int | None] = set()
    chain: dict[int | None, int] = {}
    for number, rank, text in lines:
        if _TRACEBACK in text and not is_framed(text):
            open_code[rank] = []
            if rank not in linked:
                chain[rank] = number
            linked.discard(rank)
        elif text.startswith("Exception ignored"):
            ignored.add(rank)
        elif text.strip() in _CHAINED:
            linked.add(rank)
        elif text[:1].isspace() and (_FRAME.match(text) or _is_within(text, open_code.get(rank))):
            found.quoted.add(number)
            open_code.setdefault(rank, []).append(text)
        elif _NAMED.match(text) or (rank in open_code and _EXCEPTION.match(text.lstrip())):
            found.chains[number] = chain.get(rank, number) if rank in open_code else number
            found.within[number] = "\n".join(open_code.pop(rank, []))
            found.quoted.update({number} if rank in ignored else ())
            ignored.discard(rank)
        elif rank not in chain:  # without the beginning of the traceback, the line after its code ends it
            open_code.pop(rank, None)
    return found


def _is_within(text: str, code: list[str] | None) -> bool:
    """Whether an indented line goes on with an open traceback, which may be indented as a whole."""
    return code is not None and (not code or _indent(text) >= _indent(code[0]))


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def is_framed(text: str) -> bool:
    """Whether it is a line of a table, or of a traceback drawn in a frame."""
    return _BOX.match(text) is not None


def names_exception(text: str) -> bool:
    """Whether a text on its own, outside a log, begins with an exception."""
    return _NAMED.match(text) is not None
