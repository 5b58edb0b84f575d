"""A status as plain text: one line a stage, aligned, for a terminal of 100 columns or a log.

Labels, reasons and units come from files that others may write, so whatever could steer a terminal is taken out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from detour.launch.text.screen import columns, show, uses_colour
from detour.ledger.state import StageStatus
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.status import ChainStatus, StageRow, Status
from detour.text import (
    ENERGY_UNITS,
    MASS_UNITS,
    counted,
    cut,
    format_count,
    format_duration,
    plain,
    scaled,
    stage_label,
    wrapped,
)

SIGNS: dict[StageStatus, str] = {
    "planned": "·",
    "submitted": "○",
    "running": "▶",
    "interrupted": "‖",
    "done": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "unknown": "?",
}
ANSI: dict[StageStatus, str] = {
    "planned": "2",
    "submitted": "36",
    "running": "1;34",
    "interrupted": "33",
    "done": "32",
    "failed": "1;31",
    "cancelled": "33",
    "unknown": "35",
}
_HEADINGS = ("stage", "status", "progress", "rate", "time", "energy", "CO2eq")
_WIDTHS = (0, 11, 16, 8, 9, 8, 8)
"""Columns; the first takes what is left."""
_RATE = 3
"""The column that is left out of a narrow terminal, where names of stages would be cut short."""
_NARROW = 96
DETAIL_LINES = 5
"""Of a reason; the whole of it is in the stage's log."""
Paint = Callable[[str, str], str]


def show_status(status: Status) -> None:
    show(render_text(status, columns(), colour=uses_colour()), styled=True)


def render_text(status: Status, width: int = 100, *, colour: bool = False) -> str:
    """All chains, then what could not be read; no line is longer than `width`, if that is 80 or more."""
    paint: Paint = (lambda text, code: f"\x1b[{code}m{text}\x1b[0m") if colour else (lambda text, _code: text)
    lines: list[str] = []
    for chain in status.chains:
        lines += [*_chain_lines(chain, width, paint), ""]
    if not status.chains:
        where = plain(status.workspace)
        lines.append(f"No chain in {where}. `detour run RECIPE` or `detour submit RECIPE` starts one.")
    lines += [f"warning: {plain(warning)}" for warning in dict.fromkeys(status.warnings)]
    return "\n".join(lines).rstrip() + "\n"


def summary(chain: ChainStatus) -> str:
    """`4 of 9 stages done, 1 running; 2m10s of work`."""
    counts = chain.counts
    others = [f"{count} {status}" for status in SIGNS if status != "done" and (count := counts.get(status))]
    parts = ", ".join([f"{counts.get('done', 0)} of {len(chain.stages)} stages done", *others])
    return parts if chain.elapsed_s is None else f"{parts}; {format_duration(chain.elapsed_s)} of work"


def energy_in_words(energy: EnergyTotal) -> str:
    """`codecarbon: 1.2 Wh, 0.07 g CO2eq`, or why it is not known."""
    if energy.co2_g is None:
        known = "" if energy.it_energy_kwh is None else f"{scaled(energy.it_energy_kwh, ENERGY_UNITS)} before PUE; "
        return f"{energy.method}: {known}unknown ({plain(energy.missing or 'no figure')})"
    mass, seen = scaled(energy.co2_g, MASS_UNITS), energy.coverage
    partly = f" ({seen:.0%} of the time was seen)" if seen is not None and seen < 0.995 else ""
    return f"{energy.method}: {scaled(energy.energy_kwh, ENERGY_UNITS)}, {mass} CO2eq{partly}"


def details(row: StageRow) -> str:
    """What has no column: why it stopped or waits, or how it goes."""
    if row.reason and row.status != "done":
        return plain(row.reason)
    if row.seen and row.status not in ("done", "running"):
        return plain(of_jobs(row))
    if row.status == "done" and row.kind == "prepare":
        return _rows_of(row.figures)
    if row.status != "running":
        return ""
    parts = [] if row.eta_s is None else [f"{format_duration(row.eta_s)} left"]
    parts += [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in row.figures.items()
        if value is not None and name in ("loss", "validation_loss", "f1")
    ]
    parts += [f"attempt {row.attempts}"] if row.attempts > 1 else []
    return ", ".join(parts)


def _rows_of(figures: Mapping[str, float | None]) -> str:
    """`42,886 rows read: 27,206 excluded, 14 repeated`; nothing where an older corpus did not count them."""
    named = {"blank": "blank", "excluded": "excluded", "repeated": "repeated", "left_out": "left out as repeats"}
    named["validation_seen"] = "in validation and training"
    if (read := figures.get("read")) is None:
        return ""
    parts = [f"{count:,.0f} {words}" for key, words in named.items() if (count := figures.get(key))]
    return f"{read:,.0f} rows read{': ' if parts else ''}{', '.join(parts)}"


def of_jobs(row: StageRow) -> str:
    """What Slurm says of a stage that does not run: the job that is next, or how the last one ended."""
    waiting = next((job for job in row.seen if job.standing == "waiting"), None)
    if waiting is not None:
        if waiting.reason in ("", "None", "Dependency"):
            return ""
        expected = (
            time.strftime(", expected %a %d %b %H:%M", time.localtime(waiting.starts_s)) if waiting.starts_s else ""
        )
        return f"job {waiting.id} pending: {waiting.reason}{expected}"
    last = row.seen[-1]
    started = "" if row.attempts else " without starting"
    return f"job {last.id} ended as {last.state}{started}; none is left: submit the chain again, or `detour retry` it"


def consequences(chain: ChainStatus) -> dict[str, str]:
    """By id of a failed stage, what follows from it: said once there, and not at each of its dependents."""
    rows = {row.id: row for row in chain.stages}
    dependents: dict[str, int] = {}
    for row in chain.stages:
        if row.status != "done" and (cause := _failed_input(row, rows)) is not None:
            dependents[cause] = dependents.get(cause, 0) + 1
    return {
        row.id: (f"{counted(dependents[row.id], 'dependent')} not run; " if row.id in dependents else "")
        + f"once the cause is fixed: detour retry {plain(chain.name)}"
        for row in chain.stages
        if row.status == "failed"
    }


def _failed_input(row: StageRow, rows: Mapping[str, StageRow]) -> str | None:
    """The failed stage that this one waits for, directly or not; the first that is found."""
    pending, seen = list(row.inputs), set[str]()
    while pending:
        stage_id = pending.pop(0)
        if stage_id in seen or stage_id not in rows:
            continue
        seen.add(stage_id)
        if rows[stage_id].status == "failed":
            return stage_id
        pending += rows[stage_id].inputs
    return None


def progress(row: StageRow) -> str:
    """`450k/1M tokens`; the whole alone when it is done."""
    if row.done is None:
        return ""
    unit = plain(row.unit or "")
    whole = row.total is not None and row.status != "done"
    amount = f"{format_count(row.done)}/{format_count(row.total)}" if whole else format_count(row.done)
    return f"{amount} {unit}".strip()


def rate(row: StageRow) -> str:
    return "" if row.rate_per_s is None or row.unit is None else f"{format_count(round(row.rate_per_s))}/s"


def _chain_lines(chain: ChainStatus, width: int, paint: Paint) -> Iterator[str]:
    rows, after = {row.id: row for row in chain.stages}, consequences(chain)
    yield paint(cut(f"{plain(chain.name)}: {summary(chain)}", width), "1")
    yield paint(_line(_HEADINGS, width).rstrip(), "2")
    for row in chain.stages:
        cells = (
            stage_label(f"{SIGNS[row.status]} {plain(row.name)}", row.seed, _first(width)),
            row.status,
            progress(row),
            rate(row),
            "" if row.elapsed_s is None else format_duration(row.elapsed_s),
            "" if row.elapsed_s is None else scaled(row.energy_kwh, ENERGY_UNITS),
            "" if row.elapsed_s is None else scaled(row.co2_g, MASS_UNITS),
        )
        yield paint(_line(cells, width).rstrip(), ANSI[row.status])
        explained = row.status != "failed" and not row.reason and _failed_input(row, rows) is not None
        for text in ("" if explained else details(row), after.get(row.id, "")):
            if text:
                yield from (paint(line, ANSI[row.status]) for line in wrapped(text, "    ", width, DETAIL_LINES))
    if chain.quoted is not None:
        yield cut(f"  energy and CO2eq of the stages by {chain.quoted.method}; in all, method by method:", width)
    for energy in chain.energy:
        yield cut(f"    {energy_in_words(energy)}", width)


def _columns(width: int) -> list[int]:
    """Which columns are shown."""
    return [index for index in range(len(_WIDTHS)) if width >= _NARROW or index != _RATE]


def _first(width: int) -> int:
    """Columns that the first cell may take."""
    shown = _columns(width)
    return width - sum(_WIDTHS[index] for index in shown) - len(shown) + 1


def _line(cells: Sequence[str], width: int) -> str:
    sizes = [_first(width), *_WIDTHS[1:]]
    aligned = [
        cut(cell, size).ljust(size) if index < 2 else cut(cell, size).rjust(size)
        for index, (cell, size) in enumerate(zip(cells, sizes, strict=True))
    ]
    return " ".join(aligned[index] for index in _columns(width))
