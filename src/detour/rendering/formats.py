"""Render a report as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from detour.rendering.contents import sections, tables
from detour.rendering.statements import statements
from detour.rendering.summaries import chain_summaries, facts, origin, tiles
from detour.rendering.tables import Cell, Table
from detour.reporting.report import Report
from detour.text import counted, plain

_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]|<>#"})


def markdown(report: Report) -> str:
    """Return the report as Markdown, without plots; text from others is escaped."""
    lines = [f"# {_text(report.title)}", "", *_head(report)]
    for section in sections(report):
        lines += [f"## {section.title}", ""]
        lines += [line for text in section.texts for line in (_text(text), "")]
        for table in section.tables:
            lines += [*markdown_table(table), ""] if table.rows else []
    lines += ["## Statements", ""]
    for statement in statements(report):
        lines += [f"### {statement.title}", "", f"```{statement.language}", statement.text.rstrip(), "```", ""]
    return "\n".join(lines)


def _head(report: Report) -> Iterator[str]:
    """The top of the page, each part followed by a blank line."""
    yield from (_text(origin(report)), "")
    yield from (f"- {_text(name)}: {_text(value)}" for name, value in facts(report))
    yield from (f"- {_text(f'{one.label}: {one.figure} ({one.small})')}" for one in tiles(report))
    yield ""
    for one in chain_summaries(report):
        yield from (f"**{_text(one.name)}**: {_text(one.sentence)} **{_text(one.result)}.**", "")
    if report.warnings:
        yield from ("Warnings:", "", *(f"- {_text(warning)}" for warning in report.warnings), "")


def csv_table(table: Table) -> str:
    """Return one line per row, with a header; unknown is empty, and text that looks like a formula gets a quote."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(table.header())
    writer.writerows([_harmless(value) for value in row] for row in table.data())
    return written.getvalue()


def json_report(report: Report) -> bytes:
    """Return the full report, with every table as a list of objects, and the statements."""
    listed = {
        table.name: [dict(zip(table.header(), row, strict=True)) for row in table.data()] for table in tables(report)
    }
    return report.to_json_bytes(tables=listed, statements={one.name: one.text for one in statements(report)})


def markdown_table(table: Table) -> Iterable[str]:
    columns = table.main
    yield from (f"**{_text(table.title)}**", "") if table.title else ()
    yield "| " + " | ".join(_text(column.label) for column in columns) + " |"
    yield "|" + "|".join("--:" if column.is_number else "---" for column in columns) + "|"
    for row in table.cells():
        yield "| " + " | ".join(map(_cell, row)) + " |"
    if table.left_out:
        yield f"\n{counted(table.left_out, 'further row')} in `{table.name}.csv`."
    if table.note:
        yield f"\n{_text(table.note)}"


def _cell(cell: Cell) -> str:
    return _text(cell.text) + (f" ({_text(cell.small)})" if cell.small else "")


def _text(written: str) -> str:
    return plain(written).translate(_MARKDOWN)


def _harmless(value: Any) -> Any:
    """Quote text that a spreadsheet would execute as a formula; names come from recipes and logs."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
