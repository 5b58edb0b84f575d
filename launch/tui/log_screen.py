"""The log of a stage, followed as it is written and into the next stage of a chain; other attempts are a key away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from threading import Event
from typing import ClassVar

from rich.cells import chop_cells
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Log, Static

from detour.errors import DetourError
from detour.launch.endings import ending
from detour.launch.text.logs import log_heading, log_line
from detour.launch.tui.pages import BESIDE_TEXT, LEAST_COLUMNS
from detour.launch.tui.threads import Gone, in_thread, in_view
from detour.ledger.workspace import Workspace
from detour.orchestration.log_following import awaited, followed, next_of
from detour.orchestration.logs import LogPart, has_next, log_part
from detour.text import plain

LAST_LINES, MOST_LINES = 2_000, 50_000
"""Lines of an existing log that are read, and lines that are kept while it grows."""
MOST_LETTERS = 10_000
"""Of a line, that are shown."""
AT_ONCE = 500
"""Lines given to the screen at a time."""


class LogScreen(Screen[None]):
    CSS = """
    LogScreen #heading { text-style: bold; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back", key_display="Escape"),
        Binding("e", "other", "output/errors"),
        Binding("left_square_bracket", "step(-1)", "attempt before", key_display="["),
        Binding("right_square_bracket", "step(1)", "attempt after", key_display="]"),
        Binding("f", "follow", "follow on/off"),
    ]

    def __init__(self, workspace: Workspace, names: tuple[str, ...], label: str, *, err: bool) -> None:
        super().__init__()
        self.workspace, self.names, self.label, self.err = workspace, names, label, err
        self.attempt: int | None = None
        """None for the last."""
        self.shown: LogPart | None = None
        self.closed = Event()

    def compose(self) -> ComposeResult:
        yield Static(id="heading", markup=False)
        yield Log(max_lines=MOST_LINES)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Log).focus()
        self.begin()

    def on_unmount(self) -> None:
        self.closed.set()

    def begin(self) -> None:
        """Read the log of the attempt from its last lines on."""
        self.closed.set()
        self.closed = Event()
        self.query_one(Log).clear()
        self.say(f"{self.label}: looking for its log")
        log, closed, width = self.query_one(Log), self.closed, max(self.size.width - BESIDE_TEXT, LEAST_COLUMNS)
        in_thread(self.app, lambda: self._read(log, closed, width), lambda _words: None)

    def say(self, heading: str) -> None:
        self.query_one("#heading", Static).update(plain(heading))

    def _read(self, log: Log, closed: Event, width: int) -> None:
        """Give the lines to `log`, folded to the width, until `closed`."""
        waiting: list[str] = []

        def act(function: Callable[..., object], *arguments: object) -> None:
            if closed.is_set():
                raise Gone
            in_view(self.app, function, *arguments)

        def flush() -> None:
            if waiting:
                act(log.write_lines, waiting.copy())
                waiting.clear()

        def sleep(seconds: float) -> None:
            flush()
            if closed.wait(seconds):
                raise Gone

        try:
            part: LogPart | None = self._part(lambda why: act(self.say, f"{self.label}: waiting: {why}"), sleep)
            while part is not None:
                act(self.began, part)
                for line in self._lines(part.from_last(LAST_LINES), lambda newer: act(self.began, newer), sleep):
                    waiting.extend(chop_cells(log_line(line)[:MOST_LETTERS], width) or [""])
                    if len(waiting) >= AT_ONCE:
                        flush()
                flush()
                if self.attempt is not None:
                    return
                waits = partial(act, self.say, f"{log_heading(part)}, waiting for the log of the next stage")
                part = next_of(self.workspace, self.names, part, waits, sleep)
        except (DetourError, OSError) as error:
            act(self.say, ending(error).message)

    def _part(self, on_wait: Callable[[str], None], sleep: Callable[[float], None]) -> LogPart:
        if self.attempt is None:
            return awaited(self.workspace, self.names, None, 0, err=self.err, on_wait=on_wait, sleep=sleep)
        return log_part(self.workspace, self.names, self.attempt, err=self.err)

    def _lines(
        self, part: LogPart, on_next: Callable[[LogPart], None], sleep: Callable[[float], None]
    ) -> Iterator[str]:
        """The last attempt is followed, into later ones; others are as they are."""
        return part.lines() if has_next(self.workspace, part) else followed(self.workspace, part, on_next, sleep)

    def began(self, part: LogPart) -> None:
        """The lines of this attempt follow."""
        self.shown = part
        self.say(log_heading(part))

    def action_other(self) -> None:
        self.err = not self.err
        self.begin()

    def action_follow(self) -> None:
        log = self.query_one(Log)
        log.auto_scroll = not log.auto_scroll
        if log.auto_scroll:
            log.scroll_end(animate=False)

    def action_step(self, step: int) -> None:
        if self.shown is None or (shown := self.attempt or self.shown.attempt) is None:
            return
        self.names, self.attempt = (self.shown.stage,), max(shown + step, 1)
        self.begin()
