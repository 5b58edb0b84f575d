"""Write a report as one file, or as a folder with all formats; if the disk is full, the old report is kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

from detour.errors import UserError
from detour.output_files import write_outputs
from detour.rendering.contents import tables
from detour.rendering.formats import csv_table, json_report, markdown
from detour.rendering.html import render_html
from detour.rendering.statements import Statement, statements
from detour.reporting.report import Report

Format = Literal["html", "md", "csv", "json", "all"]
FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIXES: dict[str, Format] = {".html": "html", ".htm": "html", ".md": "md", ".json": "json"}
_DEFAULT = {"html": Path("report.html"), "md": Path("report.md"), "json": Path("report.json")}
_FOLDER = Path("report")
_OUR_NAME = b"detour"
"""Appears in every report: in the page's title, in a statement, in the methods."""
_ENDINGS = {"text": "txt", "yaml": "yaml", "json": "json"}


def format_for(path: Path | None) -> Format:
    """Return the format for a file name; a folder, or a name without an ending, gets all formats.

    Raises UserError for an unknown ending.
    """
    if path is None or (not path.suffix and path.exists() and not path.is_dir()):
        return "html"
    if not path.suffix or path.is_dir():
        return "all"
    if path.suffix.lower() not in _SUFFIXES:
        raise UserError(f"{path}: no format has this ending; name a .html, .md or .json, or choose with --format")
    return _SUFFIXES[path.suffix.lower()]


def write_report(report: Report, wanted: Format, path: Path) -> Path:
    """Write the report and return the file to open first. Raises UserError if it cannot be written."""
    write_outputs({path / name: content for name, content in _files(report, wanted).items()}, "--out")
    return path / "report.html" if wanted == "all" else path


def default_place(wanted: Format) -> Path:
    """Return a path in the current folder, since the workspace may be another user's.

    Raises UserError if another program's file is there.
    """
    path = _DEFAULT.get(wanted, _FOLDER)
    if path.is_file() and _OUR_NAME not in path.read_bytes():
        raise UserError(f"{path}: exists already and is not a detour report; choose another path with --out")
    return path


def _files(report: Report, wanted: Format) -> dict[str, str | bytes]:
    """Return the files by name in the folder; a single file has an empty name."""
    if wanted == "html":
        return {"": render_html(report)}
    if wanted == "md":
        return {"": markdown(report)}
    if wanted == "json":
        return {"": json_report(report)}
    files: dict[str, str | bytes] = {f"tables/{_safe(table.name)}.csv": csv_table(table) for table in tables(report)}
    if wanted == "all":
        files |= {"report.html": render_html(report), "report.md": markdown(report), "report.json": json_report(report)}
        files |= {_statement(one): one.text.rstrip() + "\n" for one in statements(report)}
    return files


def _statement(one: Statement) -> str:
    return f"statements/{_safe(one.name)}.{_ENDINGS[one.language]}"


def _safe(name: str) -> str:
    """Return a safe file name for a name from a recipe."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "table"
