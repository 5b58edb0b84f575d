"""Screens in front of the view: a page of text that is made in a thread, the keys, and a question."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from detour.errors import DetourError
from detour.launch.endings import ending
from detour.launch.tui.threads import in_thread, in_view
from detour.text import plain

Make = Callable[[int], Iterable[str]]
"""Lines of so many columns. May raise DetourError, which is shown in their place."""
BESIDE_TEXT = 2
"""Columns of a scroll bar."""
LEAST_COLUMNS = 30
"""Lines are at least as long; a narrower screen shows a part of them."""
KEYS = """\
Up, Down, Page Up, Page Down, Home, End   select a line
Tab     from the list to what is known about the line, to scroll it, and back
Enter   open or close a chain, or the seeds of a task
l       the log of the stage; for a chain, of the stage that was active last
e       the same from standard error, where it has its own file
w       why it failed or is pending, and what to do
c       a shell in the running job of the stage
d       cancel it and its dependents, after a question
h, u    hold its pending jobs, release held ones, after a question
r       GPUs, nodes and cores that are free on the chain's cluster
o       hide or show chains that are done
/       search names of chains, sweeps, users and stages
Escape  close this, end a search, or remove messages
q       quit; jobs are not affected"""


class Page(Screen[None]):
    """Lines of text to scroll through."""

    CSS = """
    Page #title { text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back", key_display="Escape"),
    ]

    def __init__(self, title: str, make: Make) -> None:
        super().__init__()
        self.heading, self.make = title, make

    def compose(self) -> ComposeResult:
        yield Static(self.heading, id="title", markup=False)
        with VerticalScroll():
            yield Static("looking...", id="text", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        width = max(self.app.size.width - BESIDE_TEXT, LEAST_COLUMNS)
        text = self.query_one("#text", Static)
        in_thread(self.app, lambda: self._fill(text, width), text.update)

    def _fill(self, page: Static, width: int) -> None:
        try:
            text = "\n".join(self.make(width))
        except (DetourError, OSError) as error:
            text = plain(ending(error).message)
        in_view(self.app, page.update, text)


class Help(Page):
    def __init__(self) -> None:
        super().__init__("keys", lambda _width: KEYS.splitlines())


class Confirmation(ModalScreen[bool]):
    """A question; only `y` agrees."""

    CSS = """
    Confirmation { align: center middle; }
    Confirmation Vertical { width: auto; max-width: 90%; height: auto; border: solid ansi_yellow; padding: 0 1; }
    Confirmation Static { width: auto; max-width: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,q", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self.question, markup=False)
            yield Static("y  yes     n  no", markup=False)
