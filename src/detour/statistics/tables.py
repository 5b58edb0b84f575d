"""The table of a comparison, as in model cards: models by tasks, with the best in bold if it is distinguishable."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence

from detour.statistics.comparison import AVERAGE, Cell, Comparison
from detour.text import plain

MISSING = "–"
LATEX = str.maketrans(
    {
        **{c: f"\\{c}" for c in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
    }
)


def columns(comparison: Comparison) -> tuple[str, ...]:
    """Return the tasks, followed by the average if there are several."""
    return (*comparison.tasks, AVERAGE) if len(comparison.tasks) > 1 else comparison.tasks


def markdown(comparison: Comparison, names: Mapping[str, str] | None = None) -> str:
    """Return the table in Markdown; `names` maps models to other names to show."""
    header = ["Model", *(_escaped(task) if task != AVERAGE else "**Avg**" for task in columns(comparison))]
    rows = [
        [_escaped((names or {}).get(model, model)), *cells]
        for model, cells in _body(comparison, lambda cell: f"**{cell}**")
    ]
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(comparison: Comparison) -> str:
    """Return the table in LaTeX, which needs the package booktabs."""
    header = ["Model", *(task.translate(LATEX) if task != AVERAGE else "Avg" for task in columns(comparison))]
    rows = [
        [plain(model).translate(LATEX), *cells]
        for model, cells in _body(comparison, lambda cell: rf"\textbf{{{cell}}}")
    ]
    body = [f"{' & '.join(row)} \\\\" for row in [header, *rows]]
    return "\n".join(
        [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", body[0], r"\midrule", *body[1:],
         r"\bottomrule", r"\end{tabular}", ""]
    )  # fmt: skip


def csv_text(comparison: Comparison) -> str:
    """Return one CSV row per cell, with its interval; figures are unrounded, and empty if unknown."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["model", "task", "seeds", "mean", "standard_deviation", "low", "high", "best_and_distinguishable"])
    for model in comparison.models:
        for task in columns(comparison):
            cell = comparison.cell(model, task)
            low, high = (cell.interval.low, cell.interval.high) if cell.interval else (None, None)
            is_bold = int(comparison.bold(task) == model)
            writer.writerow([model, task, cell.n or None, cell.mean, cell.standard_deviation, low, high, is_bold])
    return file.getvalue()


def figure(cell: Cell) -> str:
    return MISSING if cell.mean is None else f"{rounded(cell.mean)}"


def rounded(value: float, decimals: int = 1) -> str:
    """Round halves away from zero, as people do: 2.75 is 2.8."""
    from decimal import ROUND_HALF_UP, Decimal

    return str(Decimal(repr(round(value, 9))).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))


def _body(comparison: Comparison, bold: Callable[[str], str]) -> list[tuple[str, Sequence[str]]]:
    winners = {task: comparison.bold(task) for task in columns(comparison)}
    return [
        (
            model,
            [
                bold(figure(comparison.cell(model, task)))
                if winners[task] == model
                else figure(comparison.cell(model, task))
                for task in columns(comparison)
            ],
        )
        for model in comparison.models
    ]


def _escaped(text: str) -> str:
    return plain(text).replace("|", r"\|")
