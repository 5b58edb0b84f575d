"""The status of many chains: one line each, worst first, with the stage that represents the chain.

Names and reasons come from files that others may write, so anything that could control a terminal is removed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from detour.grouping import grouped
from detour.launch.text.states import SIGNS, colour_of, painter
from detour.monitoring.states import WORDS
from detour.monitoring.status import ChainStatus, Status, worst_first
from detour.text import (
    MASS_UNITS,
    amount,
    cells,
    counted,
    cut,
    fitted,
    format_duration,
    joined,
    plain,
    scaled,
    wrapped,
)

_HEADINGS = ("chain", "state", "stages", "ends in", "GPU-h", "CO2eq", "now")
_WIDTHS = (14, 7, 9, 7, 8)
"""Widths of the columns between the name and the last one."""
_LONGEST_NAME = 40
_LEAST_NAME = 24
"""Width of names at which narrow terminals keep one more column of figures."""
HALF_A_YEAR_S = 182 * 86_400
_DETAIL_FROM = 96
"""Screen width from which the last column is shown."""


def overview_lines(status: Status, width: int, *, most: int | None = None, colour: bool | None = None) -> Iterator[str]:
    """The table of chains; beyond the `most` worst, chains are only counted."""
    paint = painter(colour=colour)
    chains = worst_first(status.chains)
    shown = chains if most is None else chains[: max(most, 1)]
    table = ChainTable(shown, width)
    yield from wrapped(headline(status), "", width, 2)
    yield paint(table.headings, "2")
    for chain in shown:
        yield paint(table.line(chain, status.now_s), colour_of(chain.state, chain.needs_person))
    if left := chains[len(shown) :]:
        counts = Counter(chain.state for chain in left)
        words = ", ".join(f"{counts[word]} {word}" for word in WORDS if word in counts)
        yield paint(cut(f"and {len(left)} more (--all lists them): {words}", width), "2")


class ChainTable:
    """The table of these chains in so many columns of a screen."""

    def __init__(self, chains: Sequence[ChainStatus], width: int) -> None:
        self.width = width
        self.name_width, self.figures = _layout(chains, width)

    @property
    def headings(self) -> str:
        return _line(_HEADINGS, self.name_width, self.figures, self.width)

    def line(self, chain: ChainStatus, now_s: float) -> str:
        return _line(_cells(chain, now_s), self.name_width, self.figures, self.width)


def headline(status: Status) -> str:
    """`50 chains: 2 failed, 12 running; 1,234 GPU-h, 5.1 kg CO2eq; queue read 35s ago`; shared stages counted once.

    May be `wrapped` between its parts.
    """
    counts = Counter(chain.state for chain in status.chains)
    parts = [", ".join(joined(f"{counts[word]} {word}") for word in WORDS if word in counts)]
    stages = {stage.id: stage for chain in status.chains for stage in chain.stages}.values()
    hours = [stage.gpu_hours for stage in stages if stage.gpu_hours is not None]
    unknown = sum(stage.unknown_gpus for stage in stages)
    left_out = f" (+ {unknown} unknown)" if unknown else ""
    used = [joined(f"{amount(sum(hours))} GPU-h{left_out}")] if hours else []
    kinds = grouped(((row.energy_method, row.energy_site), row.co2_g) for row in stages if row.co2_g is not None)
    methods, sites = ({kind[place] for kind in kinds} for place in (0, 1))
    for (method, site), grams in kinds.items():
        by = f" by {method}" if len(methods) > 1 else ""
        at = f" on {plain(site)}" if site and len(sites) > 1 else ""
        used.append(joined(f"{scaled(sum(grams), MASS_UNITS)} CO2eq{by}{at}"))
    parts += [", ".join(used)] if used else []
    if status.queue_s is not None:
        parts.append(joined(f"queue read {format_duration(max(status.now_s - status.queue_s, 0.0))} ago"))
    return f"{counted(len(status.chains), 'chain')}: {'; '.join(parts)}" if counts else "no chain"


def ends_in(chain: ChainStatus, now_s: float) -> str:
    """`5h12m`, `>5h12m` if some durations are unknown, `-` if nothing is running or pending."""
    if chain.is_over:
        return "-"
    if chain.ends_s is None:
        return "unknown"
    return (">" if chain.unknown_durations else "") + format_duration(max(chain.ends_s - now_s, 0.0))


def _cells(chain: ChainStatus, now_s: float) -> tuple[str, ...]:
    quoted = chain.quoted
    return (
        f"{SIGNS[chain.state]} {plain(chain.name)}",
        chain.state,
        f"{chain.counts.get('done', 0)}/{len(chain.stages)}",
        ends_in(chain, now_s),
        "-" if chain.gpu_hours is None else amount(chain.gpu_hours),
        scaled(quoted.co2_g, MASS_UNITS) if quoted is not None and quoted.co2_g is not None else "-",
        plain(chain.now or ""),
    )


def _layout(chains: Sequence[ChainStatus], width: int) -> tuple[int, int]:
    """Width of the names, and the number of columns of figures next to them."""
    needed = max((cells(plain(chain.name)) + 2 for chain in chains), default=len(_HEADINGS[0]))
    figures = len(_WIDTHS) - 1
    while figures and width - _beside(figures) < min(needed, _LEAST_NAME):
        figures -= 1
    room = max(width - _beside(figures), len(_HEADINGS[0]))
    return room if width < _DETAIL_FROM else min(max(needed, len(_HEADINGS[0])), _LONGEST_NAME, room), figures


def _beside(figures: int) -> int:
    """Width of the columns after the name."""
    return sum(_WIDTHS[: figures + 1]) + figures + 1


def _line(values: Sequence[str], name_width: int, figures: int, width: int) -> str:
    name, state, *cells_of_figures = values[: figures + 2]
    shown = [fitted(name, name_width), fitted(state, _WIDTHS[0])]
    shown += [fitted(cell, size, right=True) for cell, size in zip(cells_of_figures, _WIDTHS[1:], strict=False)]
    line = " ".join(shown)
    if width < _DETAIL_FROM:
        return line.rstrip()
    room = width - cells(line) - 2
    return (f"{line}  {cut(values[-1], room)}" if room > 8 else line).rstrip()


def clock(at_s: float) -> str:
    """`Fri 27 Nov 12:15`; with the year if another one could be meant."""
    year = " %Y" if abs(at_s - time.time()) > HALF_A_YEAR_S else ""
    return time.strftime(f"%a %d %b{year} %H:%M", time.localtime(at_s))
