"""The status on a terminal, redrawn while waiting: a tree of chains and stages with bars, rates and time left.

Drawn with rich from the same `Status` as everything else. Markup in labels is not interpreted.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from detour.handlers import handling
from detour.launch.text.overview import overview_lines
from detour.launch.text.screen import is_animated, json_text, show_while_read
from detour.launch.text.states import BAD, BUSY, GOOD, ODD, QUEUED, QUIET, SIGNS, WARN, colour_of
from detour.launch.text.status import are_chains, details, progress, rate, status_text, summary
from detour.monitoring.status import ChainStatus, StageRow, Status
from detour.scheduler.slow_clients import on_slow, silent
from detour.text import ENERGY_UNITS, MASS_UNITS, cells, cut, fitted, format_duration, plain, scaled, stage_label

STYLES = {
    GOOD: "green",
    BAD: "bold red",
    WARN: "yellow",
    ODD: "magenta",
    BUSY: "bold blue",
    QUEUED: "cyan",
    QUIET: "dim",
}
"""Colours as rich names them."""
BESIDES = 4
"""Lines around a table of chains."""
BAR, PROGRESS, RATE, TIME = 12, 16, 8, 9
"""Columns of the bar, progress, rate, time and status; the label takes the rest, as far as it needs it."""
NARROW = 96
"""Width below which the rate is left out."""
Show = Callable[[Status], None]


def show_looks(looks: Iterable[Status], names: Collection[str], *, as_json: bool) -> None:
    """Redraw on a terminal; otherwise print one after the other while they are read, as text or lines of JSON."""
    if as_json:
        show_while_read(json_text(look.to_json(), indented=False) for look in looks)
    elif is_animated():
        # SIGTERM ends the view like Ctrl-C, so that the terminal gets its cursor back.
        with handling((signal.SIGTERM,), signal.default_int_handler), live_view() as view:
            for look in looks:
                view(look)
    else:
        show_while_read(f"{status_text(look, one=are_chains(names, look))}\n" for look in looks)


@contextmanager
def live_view(console: Console | None = None) -> Iterator[Show]:
    """Yields the function that shows a newer status; the last one stays on the screen."""
    console = console or Console()
    on_slow.set(silent)  # a line of its own would move the view
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def show(status: Status) -> None:
            live.update(draw(status, *console.size), refresh=True)

        yield show


def draw(status: Status, width: int, height: int) -> Group:
    """All chains with their stages, as far as they fit the screen.

    Otherwise stages that are done or only planned are counted, not listed; if that does not fit, several chains are one
    line each, worst first.
    """
    notes = [Text(cut(f"warning: {plain(warning)}", width), style="yellow") for warning in status.warnings]
    lines = [line for chain in status.chains for line in _chain(chain, chain.stages, width)]
    if len(lines) + len(notes) > height:
        lines = [line for chain in status.chains for line in _chain(chain, _busy(chain), width)]
    if len(lines) + len(notes) > height and len(status.chains) > 1:
        room = max(height - len(notes) - BESIDES, 1)
        lines = [Text.from_ansi(line) for line in overview_lines(status, width, most=room, colour=True)]
    return Group(*lines, *notes)


def _busy(chain: ChainStatus) -> list[StageRow]:
    return [row for row in chain.stages if row.status not in ("done", "planned")]


def _chain(chain: ChainStatus, rows: Sequence[StageRow], width: int) -> Iterator[Text]:
    heading = Text(plain(chain.name), style="bold").append(f"  {summary(chain)}", style="not bold dim")
    if chain.quoted is not None and chain.quoted.co2_g is not None:
        energy, mass = scaled(chain.quoted.facility_energy_kwh, ENERGY_UNITS), scaled(chain.quoted.co2_g, MASS_UNITS)
        heading.append(f"; {energy}, {mass} CO2eq ({chain.quoted.method})", style="not bold dim")
    heading.truncate(width, overflow="ellipsis")
    yield heading
    needed = max((cells(plain(row.label)) + 2 for row in rows), default=0)
    with_rate = width >= NARROW
    state = max((len(row.state) for row in rows), default=0)
    sizes = [BAR, PROGRESS, *([RATE] if with_rate else []), TIME, state]
    label_width = min(needed, width - len("├─ ") - sum(sizes) - len(sizes))
    for index, row in enumerate(rows):
        last = index == len(rows) - 1
        yield _line(row, "└─ " if last else "├─ ", label_width, with_rate=with_rate)
        if more := details(row):
            prefix = "     " if last else "│    "
            yield Text(prefix, style="dim").append(cut(more, width - len(prefix)), style=f"not dim {style_of(row)}")


def _line(row: StageRow, branch: str, label_width: int, *, with_rate: bool) -> Text:
    elapsed = "" if row.elapsed_s is None else format_duration(row.elapsed_s)
    label = fitted(stage_label(f"{SIGNS[row.state]} {plain(row.name)}", row.seed, label_width), label_width)
    line = Text(branch, style="dim").append(label, style=f"not dim {style_of(row)}")
    line.append(" ").append_text(_bar(row))
    figures = [(progress(row), PROGRESS), *([(rate(row), RATE)] if with_rate else []), (elapsed, TIME)]
    for text, size in figures:
        line.append(f" {fitted(text, size, right=True)}", style="not dim")
    return line.append(f" {row.state}", style=f"not dim {style_of(row)}")


def style_of(row: StageRow) -> str:
    return STYLES[colour_of(row.state, row.needs_person)]


def _bar(row: StageRow) -> Text:
    """A bar, only where something is under way."""
    if row.status not in ("running", "interrupted", "unknown") or row.fraction is None:
        return Text(" " * BAR)
    full = round(row.fraction * BAR)
    bar = Text("━" * full, style=f"not dim {style_of(row)}")
    return bar.append("─" * (BAR - full), style="dim")
