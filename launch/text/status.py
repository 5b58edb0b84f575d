"""A status as plain text, for a terminal of 80 columns or a log: one line per chain, or the stages of one, aligned.

Labels, reasons and units come from files that others may write, so anything that could control a terminal is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from detour.launch.text.folding import Folded, folded
from detour.launch.text.overview import clock, ends_in, overview_lines
from detour.launch.text.screen import columns, rows_that_fit, show, uses_colour
from detour.launch.text.states import SIGNS, Paint, colour_of, painter
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.states import WORDS
from detour.monitoring.status import ChainStatus, StageRow, Status
from detour.text import (
    ENERGY_UNITS,
    MASS_UNITS,
    amount,
    cells,
    counted,
    cut,
    fitted,
    format_count,
    format_duration,
    plain,
    scaled,
    stage_label,
    wrapped,
)

_HEADINGS = ("stage", "state", "progress", "rate", "time", "energy", "CO2eq")
_WIDTHS = (0, 14, 16, 8, 9, 8, 8)
"""Widths of the columns; the first takes the rest."""
_LEFT_OUT = {3: 96, 5: 80, 6: 76, 4: 64, 2: 52}
"""Columns, and the widths below which they are left out, because they would cut names short."""
DETAIL_LINES = 5
"""Upper bound on lines of a reason; the whole of it is in the stage's log."""
OVERVIEW = 40, 240
"""Least and greatest width of a table of chains: names and reasons are long."""
BESIDES = 5
"""Lines around a table of chains: a headline of two, headings, what is left out, the prompt."""


def show_status(status: Status, *, one: bool = False, every: bool = False) -> None:
    """Print a status: with `one`, even several chains as stages; with `every`, all chains even if they do not fit."""
    show(status_text(status, one=one, every=every), styled=True)


def without_chains(status: Status) -> str:
    where = plain(status.workspace)
    if status.warnings:
        return f"No chain in {where} can be read."
    return f"No chain in {where}. `detour run RECIPE` or `detour submit RECIPE` starts one."


def none_wanted(chains: int) -> str:
    if chains == 1:
        return "The chain does not match the options; without them, it is listed."
    return f"None of {counted(chains, 'chain')} matches the options; without them, all are listed."


def status_text(status: Status, *, one: bool = False, every: bool = False) -> str:
    """The status as this terminal shows it."""
    width = columns() if one or len(status.chains) == 1 else columns(*OVERVIEW)
    rows = sum(-(-cells(line) // width) for line in _notes(status, width))
    most = None if every else rows_that_fit(BESIDES + rows)
    return render_text(status, width, one=one, most=most, colour=uses_colour()).rstrip("\n")


def are_chains(names: Collection[str], status: Status) -> bool:
    """Whether each name is a chain's own: these are shown in full, those of a sweep or pattern on one line each."""
    return bool(names) and {chain.name for chain in status.chains}.issuperset(names)


def render_text(
    status: Status, width: int = 100, *, one: bool = True, most: int | None = None, colour: bool = False
) -> str:
    """The text of a status, then what could not be read.

    A single chain, or with `one` each chain, is shown as its stages; several on one line each, at most `most`. No line
    except warnings is longer than `width`, which must be 80 or more.
    """
    paint = painter(colour=colour)
    lines: list[str] = []
    if one or len(status.chains) == 1:
        for chain in status.chains:
            lines += [*_chain_lines(chain, status, width, paint), ""]
    elif status.chains:
        lines += [*overview_lines(status, width, most=most, colour=colour)]
    if not status.chains:
        lines.append(without_chains(status))
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join([*lines, *_notes(status, width)]) + "\n"


def _notes(status: Status, width: int) -> list[str]:
    """The lines after the chains. A warning is one line, whose paths can be copied."""
    forecasts = [] if status.forecasts is None else wrapped(f"Forecasts: {status.forecasts}", "", width)
    return [*forecasts, *(f"warning: {plain(warning)}" for warning in dict.fromkeys(status.warnings))]


def summary(chain: ChainStatus) -> str:
    """For example `4 of 9 stages done, 1 running; 2m10s of work`."""
    states, done = chain.states, chain.counts.get("done", 0)
    others = [f"{states[word]} {word}" for word in WORDS if word in states and word not in ("done", "promoted")]
    parts = ", ".join([f"{done} of {len(chain.stages)} stages done", *others])
    return parts if chain.elapsed_s is None else f"{parts}; {format_duration(chain.elapsed_s)} of work"


def outlook_line(chain: ChainStatus, now_s: float) -> str:
    """Sweep and cluster, what it used, and when it ends."""
    parts = [f"{word} {plain(name)}" for word, name in (("sweep", chain.sweep), ("on", chain.cluster)) if name]
    parts += [] if chain.gpu_hours is None else [f"{amount(chain.gpu_hours)} GPU-h{_of_hours(chain)}"]
    if chain.ends_s is not None and not (chain.is_done or chain.is_over):
        left_out = f", {counted(chain.unknown_durations, 'duration')} unknown" if chain.unknown_durations else ""
        parts.append(f"ends {clock(chain.ends_s)} (in {ends_in(chain, now_s).lstrip('>')}{left_out})")
    return ", ".join(parts)


def _of_hours(chain: ChainStatus) -> str:
    parts = [f"+ {chain.unknown_gpus} unknown"] if chain.unknown_gpus else []
    if chain.gpu_hours and chain.by_journal:
        parts.append(f"{counted(chain.by_journal, 'attempt')} by the journal")
    return f" ({', '.join(parts)})" if parts else ""


def energy_lines(totals: Sequence[EnergyTotal]) -> list[str]:
    """`codecarbon: 1.2 Wh, 0.07 g CO2eq` for each method, or why all are unknown."""
    reasons = {energy.missing if energy.it_energy_kwh is None else None for energy in totals}
    if len(totals) > 1 and len(reasons) == 1 and (reason := reasons.pop()):
        return [f"energy and CO2eq: unknown ({plain(reason)})"]
    return [_energy_in_words(energy) for energy in totals]


def _energy_in_words(energy: EnergyTotal) -> str:
    if energy.co2_g is None:
        known = "" if energy.it_energy_kwh is None else f"{scaled(energy.it_energy_kwh, ENERGY_UNITS)} before PUE; "
        return f"{energy.method}: {known}unknown ({plain(energy.missing or 'no figure')})"
    mass, seen = scaled(energy.co2_g, MASS_UNITS), energy.coverage
    partly = f" (covers {seen:.0%} of the time)" if seen is not None and seen < 0.995 else ""
    return f"{energy.method}: {scaled(energy.facility_energy_kwh, ENERGY_UNITS)}, {mass} CO2eq{partly}"


def details(row: StageRow) -> str:
    """What has no column: why it stopped or is pending, or its progress."""
    if row.status == "done":
        return _rows_of(row.figures) if row.kind == "prepare" else ""
    parts = [plain(row.why)] if row.why else []
    if row.starts_s is not None:
        parts.append(f"expected to start {clock(row.starts_s)}")
    if row.status == "running":
        parts += [] if row.eta_s is None else [f"{format_duration(row.eta_s)} left"]
        parts += [
            f"{name.replace('_', ' ')} {value:.4g}"
            for name, value in row.figures.items()
            if value is not None and name in ("loss", "validation_loss", "validation_f1")
        ]
        parts += [] if row.mfu is None else [f"MFU {row.mfu:.0%}"]
        parts += [f"attempt {row.attempts}"] if row.attempts > 1 else []
    return ", ".join(parts)


def next_line(chain: ChainStatus, row: StageRow) -> str:
    """What a person does about the stage, or may do, after the number of dependents that do not run."""
    if row.next_step is None:
        return ""
    waiting = sum(one.blocked_by == row.id for one in chain.stages)
    before = f"{counted(waiting, 'dependent')} not run; " if waiting and row.status == "failed" else ""
    return before + plain(row.next_step)


def _rows_of(figures: Mapping[str, float | None]) -> str:
    """`42,886 rows read: 27,206 excluded, 14 repeated`; empty if an older corpus did not count them."""
    named = {"blank": "blank", "excluded": "excluded", "repeated": "repeated", "left_out": "left out as repeats"}
    named["validation_seen"] = "in validation and training"
    if (read := figures.get("read")) is None:
        return ""
    parts = [f"{count:,.0f} {words}" for key, words in named.items() if (count := figures.get(key))]
    return f"{read:,.0f} rows read{': ' if parts else ''}{', '.join(parts)}"


def progress(row: StageRow) -> str:
    """`450k/1M tokens`, or only the total when it is done."""
    if row.done is None:
        return ""
    unit = plain(row.unit or "")
    whole = row.total is not None and row.status != "done"
    amount = f"{format_count(row.done)}/{format_count(row.total)}" if whole else format_count(row.done)
    return f"{amount} {unit}".strip()


def rate(row: StageRow) -> str:
    return "" if row.rate_per_s is None or row.unit is None else f"{format_count(round(row.rate_per_s))}/s"


def _chain_lines(chain: ChainStatus, status: Status, width: int, paint: Paint) -> Iterator[str]:
    yield from (paint(line, "1") for line in wrapped(f"{plain(chain.name)}: {summary(chain)}", "", width))
    if outlook := outlook_line(chain, status.now_s):
        yield from wrapped(outlook, "  ", width)
    yield paint(stage_headings(width), "2")
    advised = set[str]()
    for group in folded(chain.stages):
        row = group.worst
        colour = colour_of(row.state, row.needs_person)
        yield paint(stage_line(group, width), colour)
        step = next_line(chain, row)
        is_repeated = step in advised
        advised.add(step)
        for text in ("" if row.blocked_by else group.named(details(row)), "" if is_repeated else step):
            if text:
                yield from (paint(line, colour) for line in wrapped(text, "    ", width, DETAIL_LINES))
    if chain.quoted is not None:
        yield cut(f"  energy and CO2eq of the stages by {chain.quoted.method}; in total, by method:", width)
    for line in energy_lines(chain.energy):
        yield from wrapped(line, "    ", width)


def stage_headings(width: int) -> str:
    return _line(_HEADINGS, width).rstrip()


def stage_line(group: Folded, width: int) -> str:
    """A line of the table of a chain's stages, for a stage or all seeds of a task."""
    return _line(_cells(group, width), width).rstrip()


def _cells(group: Folded, width: int) -> tuple[str, ...]:
    row = group.worst
    began = group.elapsed_s is not None
    name = stage_label(f"{SIGNS[row.state]} {plain(group.name)}", group.seed, _first(width))
    return (
        name,
        row.state,
        progress(row) if len(group.rows) == 1 else f"{group.done}/{len(group.rows)} seeds",
        rate(row) if len(group.rows) == 1 else "",
        format_duration(group.elapsed_s) if began else "",
        scaled(group.facility_energy_kwh, ENERGY_UNITS) if began else "",
        scaled(group.co2_g, MASS_UNITS) if began else "",
    )


def _columns(width: int) -> list[int]:
    """Indices of the columns shown."""
    return [index for index in range(len(_WIDTHS)) if width >= _LEFT_OUT.get(index, 0)]


def _first(width: int) -> int:
    """Columns that the first cell may take."""
    shown = _columns(width)
    return width - sum(_WIDTHS[index] for index in shown) - len(shown) + 1


def _line(values: Sequence[str], width: int) -> str:
    sizes = [_first(width), *_WIDTHS[1:]]
    aligned = [
        fitted(value, size, right=index >= 2) for index, (value, size) in enumerate(zip(values, sizes, strict=True))
    ]
    return " ".join(aligned[index] for index in _columns(width))
