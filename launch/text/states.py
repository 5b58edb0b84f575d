"""How states look: a sign and a colour each. Normal events on a cluster are not red."""

from __future__ import annotations

from collections.abc import Callable

from detour.launch.text.screen import uses_colour
from detour.monitoring.states import StateWord

SIGNS: dict[StateWord, str] = {
    "failed": "✗",
    "lost contact": "!",
    "unknown": "?",
    "interrupted": "‖",
    "node failed": "‖",
    "timed out": "‖",
    "preempted": "↻",
    "requeued": "↻",
    "saved at limit": "↻",
    "held": "‖",
    "running": "▶",
    "pending": "○",
    "cancelled": "⊘",
    "planned": "·",
    "promoted": "✓",
    "done": "✓",
}
GOOD, BAD, WARN, ODD, BUSY, QUEUED, QUIET = "32", "1;31", "33", "35", "1;34", "36", "2"
"""Codes of ANSI colours."""
_COLOURS: dict[StateWord, str] = {
    "failed": BAD,
    "lost contact": BAD,
    "unknown": ODD,
    "held": WARN,
    "running": BUSY,
    "pending": QUEUED,
    "cancelled": QUIET,
    "planned": QUIET,
    "promoted": GOOD,
    "done": GOOD,
}
Paint = Callable[[str, str], str]
"""A line and a colour's code -> the line in that colour."""


def colour_of(state: StateWord, needs_person: bool) -> str:
    """An interruption is a warning only if it does not resume by itself."""
    return _COLOURS.get(state, WARN if needs_person else QUEUED)


def painter(*, colour: bool | None = None) -> Paint:
    """A function that colours a line; `colour` overrides what the terminal supports."""
    if uses_colour() if colour is None else colour:
        return lambda text, code: f"\x1b[{code}m{text}\x1b[0m" if code else text
    return lambda text, _code: text
