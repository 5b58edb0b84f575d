"""The status on a terminal, redrawn while one waits: a tree of chains and stages with bars, rates and what is left.

Drawn with rich from the same `Status` as everything else. Markup in labels is not interpreted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from detour.monitoring.status import ChainStatus, StageRow, Status
from detour.monitoring.text import (
    ENERGY_UNITS,
    MASS_UNITS,
    SIGNS,
    details,
    plain,
    progress,
    rate,
    scaled,
    summary,
)
from detour.recipe.quantities import format_duration

STYLES = {
    "planned": "dim",
    "submitted": "cyan",
    "running": "bold blue",
    "interrupted": "yellow",
    "done": "green",
    "failed": "bold red",
    "unknown": "magenta",
}
BAR_WIDTH = 16
Show = Callable[[Status], None]


@contextmanager
def live_view(console: Console | None = None) -> Iterator[Show]:
    """Yields the function that shows a newer status; the last one stays on the screen."""
    console = console or Console(stderr=True)
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def show(status: Status) -> None:
            live.update(draw(status, console.size.height), refresh=True)

        yield show


def draw(status: Status, height: int = 1000) -> Group:
    """All chains; when they do not fit the screen, stages that are done or only planned are counted, not listed."""
    stages = sum(len(chain.stages) + 3 for chain in status.chains)
    parts = [_chain(chain, brief=stages > height) for chain in status.chains]
    notes = [Text(f"note: {plain(warning)}", style="yellow") for warning in status.warnings]
    return Group(*parts, *notes)


def _chain(chain: ChainStatus, *, brief: bool) -> Group:
    table = Table.grid(padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=44)
    table.add_column(width=BAR_WIDTH)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    shown = [row for row in chain.stages if not brief or row.status not in ("done", "planned")]
    for index, row in enumerate(shown):
        table.add_row(*_cells(row, last=index == len(shown) - 1))
    heading = Text(plain(chain.name), style="bold")
    heading.append(f"  {summary(chain)}", style="dim")
    if chain.quoted is not None and chain.quoted.co2_g is not None:
        energy, mass = scaled(chain.quoted.energy_kwh, ENERGY_UNITS), scaled(chain.quoted.co2_g, MASS_UNITS)
        heading.append(f"; {energy}, {mass} CO2eq ({chain.quoted.method})", style="dim")
    return Group(heading, table)


def _cells(row: StageRow, *, last: bool) -> tuple[Text | ProgressBar, ...]:
    style = STYLES[row.status]
    branch = "└─ " if last else "├─ "
    name = Text(branch, style="dim").append(f"{SIGNS[row.status]} {plain(row.label)}", style=style)
    elapsed = "" if row.elapsed_s is None else format_duration(row.elapsed_s)
    more = details(row) or ("" if row.status in ("done", "running") else row.status)
    return (name, _bar(row), Text(progress(row)), Text(rate(row)), Text(elapsed), Text(more, style=style))


def _bar(row: StageRow) -> Text | ProgressBar:
    """Only where something is under way; a stage that runs and tells no progress pulses."""
    if row.status not in ("running", "interrupted", "unknown"):
        return Text("")
    fraction = row.fraction
    if fraction is None:
        return ProgressBar(total=None, pulse=row.status == "running", width=BAR_WIDTH)
    return ProgressBar(total=1.0, completed=fraction, width=BAR_WIDTH)
