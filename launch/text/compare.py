"""A comparison of models: the table of scores, then what each pair of models shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detour.launch.text.screen import json_text
from detour.statistics.comparison import Comparison
from detour.statistics.tables import MISSING, columns, csv_text, latex, markdown, rounded
from detour.statistics.verdicts import sentences
from detour.text import aligned, cut, plain, wrapped

FORMATS = ("text", "markdown", "latex", "csv", "json")
LONGEST_NAME, LONGEST_TASK = 32, 18
MOST_IN_FULL = 10
"""Number of pairs of models up to which all details of each are shown."""


def rendered(comparison: Comparison, form: str, width: int) -> str:
    if form == "json":
        return json_text(comparison) + "\n"
    if form == "csv":
        return csv_text(comparison)
    if form == "latex":
        return latex(comparison)
    if form == "markdown":
        return markdown(comparison)
    return "\n".join(comparison_lines(comparison, width)) + "\n"


def comparison_lines(comparison: Comparison, width: int) -> Iterator[str]:
    metric = f" ({plain(comparison.metric)})" if comparison.metric else ""
    legend = (
        "; ± half of the 95 % interval over seeds" if any(cell.n > 1 for cell in comparison.averages.values()) else ""
    )
    yield from wrapped(f"Scores in points{metric}{legend}; * best and distinguishable from all others", "", width)
    for block in _blocks(comparison, width):
        yield from block
        yield ""
    is_short = len(comparison.pairs) > MOST_IN_FULL
    for pair in comparison.pairs:
        first, *rest = (plain(sentence) for sentence in sentences(comparison, pair))
        yield from wrapped(first, "", width)
        for sentence in rest if not is_short else ():
            yield from wrapped(sentence, "  ", width)
    if is_short:
        yield from wrapped(
            f"{len(comparison.pairs)} pairs are compared; details are only shown for up to {MOST_IN_FULL}: "
            "compare fewer, --against one, or with --json",
            "",
            width,
        )
    yield from (line for note in comparison.notes for line in wrapped(plain(note), "", width))


def _blocks(comparison: Comparison, width: int) -> Iterator[list[str]]:
    """The table, split into as many blocks as the width requires."""
    names = _cut(comparison.models, LONGEST_NAME)
    left = max(map(len, ["model", *names]))
    tasks = columns(comparison)
    cells = {
        task: [heading, *(_shown(comparison, model, task) for model in comparison.models)]
        for task, heading in zip(tasks, _cut(tasks, LONGEST_TASK), strict=True)
    }
    room: list[str] = []
    for task in [*tasks, None]:
        used = left + sum(2 + _widest(cells[name]) for name in room)
        if room and (task is None or used + 2 + _widest(cells[task]) > width):
            table = list(zip(["model", *names], *(cells[column] for column in room), strict=True))
            yield aligned(table, right=range(1, len(room) + 1))
            room = []
        if task is not None:
            room.append(task)


def _cut(names: Sequence[str], width: int) -> list[str]:
    """Cut names at their ends, or all in the middle if two would then look alike."""
    whole = [plain(name) for name in names]
    ends = [cut(name, width) for name in whole]
    if len(set(ends)) == len(set(whole)):
        return ends
    half = width // 2
    return [name if len(name) <= width else f"{name[: width - half - 1]}…{name[-half:]}" for name in whole]


def _widest(cells: Sequence[str]) -> int:
    return max(map(len, cells))


def _shown(comparison: Comparison, model: str, task: str) -> str:
    cell = comparison.cell(model, task)
    if cell.mean is None:
        return MISSING
    half = f" ± {rounded(cell.interval.high - cell.mean)}" if cell.interval else ""
    is_bold = comparison.bold(task) == model
    return f"{rounded(cell.mean)}{half}{'*' if is_bold else ''}"
