"""The first screen of `detour watch`: chains and stages to walk through, with what is known about the selected one.

The status is read in a thread, at the poll interval of everything else, and drawn when it has changed. What a key asks
for is done in a thread too, so that the view never waits for Slurm or a disk. Names, reasons and logs are untrusted:
they are cleaned, and never interpreted as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import ClassVar, Literal

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from detour.errors import DetourError
from detour.launch.endings import ending
from detour.launch.text.control import controlled_lines
from detour.launch.text.nodes import free_lines
from detour.launch.text.overview import headline
from detour.launch.text.show import chain_lines, stage_lines, wrapped_lines
from detour.launch.text.states import BAD, BUSY, GOOD, ODD, QUEUED, QUIET, WARN
from detour.launch.text.status import without_chains
from detour.launch.tui.lines import Line, View, headings, lines_of
from detour.launch.tui.log_screen import LogScreen
from detour.launch.tui.pages import LEAST_COLUMNS, Confirmation, Help, Page
from detour.launch.tui.threads import Gone, in_thread, in_view
from detour.ledger.workspace import Workspace
from detour.monitoring.status import Status
from detour.orchestration.control import Controlled, cancel, hold, release
from detour.orchestration.nodes import free_nodes, shell_in_job
from detour.text import plain, wrapped

Look = Callable[[], Status]
Verb = Callable[..., Controlled]
ORDERS: dict[str, tuple[str, Verb]] = {
    "cancel": ("Cancel {}, with all that depends on it", cancel),
    "hold": ("Hold the pending jobs of {}", hold),
    "release": ("Release the held jobs of {}", release),
}
STYLES = {
    GOOD: "ansi_green",
    BAD: "bold ansi_red",
    WARN: "ansi_yellow",
    ODD: "ansi_magenta",
    BUSY: "bold ansi_blue",
    QUEUED: "ansi_cyan",
    QUIET: "dim",
}
"""The terminal's own colours as Textual names them: other names are fixed shades, unreadable on some backgrounds."""
UNTIL_ESCAPE_S = 86_400.0
BESIDE_LINES = 3
"""Columns beside a line, for padding and scroll bar."""


class Lines(OptionList):
    """Marks the selected line in reverse, which is visible without colours too."""

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        return strip.apply_style(Style(reverse=True)) if self.scroll_offset.y + y == self.highlighted else strip

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if self.scrollable_content_region:  # Textual looks for the line where none has room
            super()._move_page(direction)


class Chains(Screen[None]):
    CSS = """
    #headline { text-style: bold; height: auto; }
    #warnings { color: ansi_yellow; height: auto; }
    #lines { height: 3fr; border: none; padding: 0 1 0 0; text-wrap: nowrap; text-overflow: ellipsis; }
    #lines > .option-list--option-highlighted { background: ansi_default; }
    #details { height: 2fr; border-top: solid ansi_bright_black; }
    #details:focus { border-top: solid ansi_blue; }
    #search { height: 1; border: none; display: none; padding: 0; }
    #search.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q,Q", "app.quit", "quit"),
        Binding("l,L", "log", "log"),
        Binding("e,E", "errors", show=False),
        Binding("w,W", "why", "why"),
        Binding("c,C", "shell", "shell"),
        Binding("d,D", "order('cancel')", "cancel"),
        Binding("h,H", "order('hold')", "hold"),
        Binding("u,U", "order('release')", "release"),
        Binding("r,R", "free", "free"),
        Binding("o,O", "finished", "done"),
        Binding("slash", "search", "find", key_display="/"),
        Binding("escape", "all", show=False),
    ]

    def __init__(self, workspace: Workspace, look: Look, first: Status, every_s: float) -> None:
        super().__init__()
        self.workspace, self.look, self.every_s = workspace, look, every_s
        self.status, self.problem = first, ""
        self.view = View(frozenset(chain.name for chain in first.chains) if len(first.chains) == 1 else frozenset())
        self.lines: list[Line] = []
        self.stopped = Event()
        self.order: Thread | None = None
        """Gives the last order to Slurm."""

    def compose(self) -> ComposeResult:
        yield Static(id="headline", markup=False)
        yield Static(id="warnings", markup=False)
        yield Static(id="headings", markup=False)
        yield Lines(id="lines", markup=False)
        with VerticalScroll(id="details"):
            yield Static(id="selected", markup=False)
        yield Input(id="search", placeholder="part of a name; Enter keeps it, Escape shows all", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        in_thread(self.app, self._keep_looking, lambda words: self.show(self.status, words))

    def on_unmount(self) -> None:
        self.stopped.set()

    def on_resize(self, _event: events.Resize) -> None:
        self.call_after_refresh(self.draw)

    def _keep_looking(self) -> None:
        while not self.stopped.wait(self.every_s):
            try:
                status, problem = self.look(), ""
            except (DetourError, OSError) as error:
                status, problem = self.status, ending(error).message
            in_view(self.app, self.show, status, problem)

    def show(self, status: Status, problem: str = "") -> None:
        self.status, self.problem = status, problem
        self.draw()

    def draw(self) -> None:
        lines = self.query_one("#lines", OptionList)
        width = self.columns
        shown = "; ".join([headline(self.status), *self.view.conditions])
        self.query_one("#headline", Static).update("\n".join(wrapped(shown, "", width, 2)))
        warnings = [f"warning: {plain(text)}" for text in (self.problem, *self.status.warnings) if text]
        self.query_one("#warnings", Static).update("\n".join(dict.fromkeys(warnings)))
        self.query_one("#warnings", Static).display = bool(warnings)
        self.query_one("#headings", Static).update(Text(headings(self.status, width), style="dim"))
        drawn, selected = lines_of(self.status, self.view, width), self.selected
        if drawn != self.lines or lines.option_count != len(drawn):
            self._redraw(lines, drawn, None if selected is None else selected.key)
        self.draw_selected()

    def _redraw(self, lines: OptionList, drawn: list[Line], selected: str | None) -> None:
        position = lines.highlighted or 0
        offset = lines.scroll_offset
        self.lines = drawn
        with self.prevent(OptionList.OptionHighlighted):
            lines.set_options(_options(drawn))
            keys = [line.key for line in drawn]
            lines.highlighted = keys.index(selected) if selected in keys else min(position, len(keys) - 1)
            lines.scroll_to(offset.x, offset.y, animate=False)

    @property
    def columns(self) -> int:
        return max(self.size.width - BESIDE_LINES, LEAST_COLUMNS)

    @property
    def selected(self) -> Line | None:
        position = self.query_one("#lines", OptionList).highlighted
        return None if position is None or position >= len(self.lines) else self.lines[position]

    @on(OptionList.OptionHighlighted, "#lines")
    def draw_selected(self) -> None:
        line = self.selected
        details = wrapped_lines(self._nothing() if line is None else self._details(line), self.columns)
        self.query_one("#selected", Static).update("\n".join(details))

    def _nothing(self) -> list[str]:
        """Why no line is shown."""
        hidden = "No chain is left. Escape ends a search, and o shows chains that are done."
        return [hidden if self.status.chains else without_chains(self.status)]

    def _details(self, line: Line) -> Iterable[str]:
        if line.chain is None:
            return
        if not line.stages:
            yield from chain_lines(line.chain, self.status.now_s)
            return
        labels = {row.id: row.label for row in line.chain.stages}
        for row in sorted(line.stages, key=lambda row: row.gravity):
            yield from stage_lines(row, labels, self.status.now_s)

    @on(OptionList.OptionSelected, "#lines")
    def open_or_close(self) -> None:
        line = self.selected
        if line is not None and line.has_parts:
            self.view = self.view.toggled(line.key)
            self.draw()

    def action_finished(self) -> None:
        self.view = self.view._replace(is_without_done=not self.view.is_without_done)
        self.draw()

    def action_search(self) -> None:
        search = self.query_one("#search", Input)
        search.add_class("open")
        search.focus()

    @on(Input.Changed, "#search")
    def search(self, event: Input.Changed) -> None:
        self.view = self.view._replace(search=event.value)
        self.draw()

    @on(Input.Submitted, "#search")
    def keep_search(self) -> None:
        self.query_one("#search", Input).remove_class("open")
        self.query_one("#lines", OptionList).focus()

    def action_all(self) -> None:
        self.app.clear_notifications()
        self.query_one("#search", Input).value = ""
        self.keep_search()

    def action_help(self) -> None:
        self.app.push_screen(Help())

    def action_log(self) -> None:
        self._show_log(err=False)

    def action_errors(self) -> None:
        self._show_log(err=True)

    def _show_log(self, *, err: bool) -> None:
        if (line := self.selected) is not None and line.names:
            self.app.push_screen(LogScreen(self.workspace, line.names, line.label, err=err))

    def action_why(self) -> None:
        if (line := self.selected) is not None and line.names:
            self.app.push_screen(Page(f"why {line.label}", partial(_why, self.workspace, line)))

    def action_free(self) -> None:
        if (line := self.selected) is not None and line.chain is not None:
            self.app.push_screen(Page("free now", partial(_free, self.workspace, line.chain.name)))

    def action_shell(self) -> None:
        """Leave the terminal to a shell in the stage's job; the view returns at its end."""
        line = self.selected
        if line is None or not line.stages:
            self._notice("a shell opens in the job of a stage: select one")
            return
        stage = next((row.id for row in line.stages if row.status == "running"), line.stages[0].id)
        try:
            with self.app.suspend():
                shell_in_job(self.workspace, stage)
        except (DetourError, OSError) as error:
            self._notice(ending(error).message, "error")

    def action_order(self, verb: str) -> None:
        line = self.selected
        if line is None or not line.names:
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.give(verb, line.names)

        self.app.push_screen(Confirmation(f"{ORDERS[verb][0].format(line.label)}?"), answered)

    def give(self, verb: str, names: tuple[str, ...]) -> None:
        """Give the order to Slurm, which is carried out even if the view is left meanwhile."""
        self.order = in_thread(self.app, lambda: self._give(verb, names), self._notice, must_end=True)

    def _give(self, verb: str, names: tuple[str, ...]) -> None:
        try:
            reached = ORDERS[verb][1](
                self.workspace, names, on_wait=lambda holder: self._say(f"waiting: {holder} is submitting")
            )
            self._say("; ".join([*controlled_lines(reached), *reached.warnings]))
            reached.require_done()
        except (DetourError, OSError) as error:
            self._say(ending(error).message, "error")

    def _say(self, text: str, severity: SeverityLevel = "information") -> None:
        """Show a message, from another thread."""
        with suppress(Gone):
            in_view(self.app, self._notice, text, severity)

    def _notice(self, text: str, severity: SeverityLevel = "information") -> None:
        """Show a message for ten seconds, an error until Escape: it may have come while something else was read."""
        timeout_s = UNTIL_ESCAPE_S if severity == "error" else 10
        self.notify(plain(text), severity=severity, markup=False, timeout=timeout_s)


def _options(lines: Iterable[Line]) -> list[Option]:
    return [
        Option(Content.styled(line.text, STYLES[line.colour]), id=line.key, disabled=line.chain is None)
        for line in lines
    ]


def _free(workspace: Workspace, chain: str, _width: int) -> Iterable[str]:
    return free_lines(free_nodes(workspace, chain))


def _why(workspace: Workspace, line: Line, width: int) -> Iterable[str]:
    """About the worst of several seeds."""
    from detour.launch.text.why import why_lines
    from detour.orchestration.why import why

    worst = min(line.stages, key=lambda row: row.gravity, default=None)
    return why_lines(why(workspace, line.names[0] if worst is None else worst.id), width)
