"""Read a model card by any author: metadata, tables of results, text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from detour.errors import UserError
from detour.statistics.markdown import Table, tables_in, unwrapped
from detour.statistics.score_columns import is_of_models
from detour.statistics.score_files import wide
from detour.statistics.scores import ScoreTable

SECTIONS = ("task", "dataset", "metrics", "source")
FIELDS = ("type", "name", "config", "split", "revision", "args", "value", "verified", "verifyToken", "url")
NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError, RecursionError)
"""Errors that the parser raises; all but the first for values that do not fit their tag, such as 2026-02-30."""


class Entry(NamedTuple):
    """One figure in a card's model-index."""

    model: str
    dataset: str
    metric: str
    value: float | None


@dataclass(frozen=True, slots=True)
class FoundCard:
    metadata: Mapping[str, Any]
    restored: bool
    """Whether the metadata had lost their indentation, which was restored by the hub's layout."""
    lines: tuple[str, ...]
    first_line: int
    """Number of the text's first line in the file."""
    tables: tuple[Table, ...]
    results: tuple[ScoreTable, ...]

    @property
    def entries(self) -> list[Entry]:
        return list(_entries(self.metadata.get("model-index")))

    @property
    def paragraphs(self) -> Iterator[tuple[int, str]]:
        """Line number and text of each line outside tables."""
        yield from (
            (number, line)
            for number, line in enumerate(self.lines, self.first_line)
            if line.strip() and not line.lstrip().startswith("|")
        )


def card_text(path: Path) -> str:
    """Return the text of a card. Raises UserError if the file is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason})") from error


def read_card(path: Path) -> FoundCard:
    """Read a card. Raises UserError if the file is not text, or its metadata are not YAML."""
    front, body, first_line = _split(unwrapped(card_text(path)))
    metadata, restored = _metadata(path, front)
    tables = tuple(tables_in(body))
    return FoundCard(
        metadata, restored, tuple(body.splitlines()), first_line, tables, tuple(_results(path, tables, first_line))
    )


def _split(text: str) -> tuple[str, str, int]:
    found = re.match(r"\s*---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)", text, re.DOTALL)
    if found is None:
        return "", text, 1
    return found[1], text[found.end() :], text[: found.end()].count("\n") + 1


def _metadata(path: Path, front: str) -> tuple[Mapping[str, Any], bool]:
    problem = ""
    for restored, text in ((False, front), (True, reindented(front))):
        try:
            content = yaml.safe_load(text) or {}
        except NO_YAML as error:
            problem = problem or str(error).partition("\n")[0]
            continue
        if isinstance(content, dict):
            return content, restored
    raise UserError(f"{path}: its metadata are not YAML ({problem or 'no mapping'}); they stand between two lines ---")


def reindented(front: str) -> str:
    """Indent the model-index by the hub's layout, in metadata whose lines have all lost their indentation."""
    lines, inside = [], False
    for line in front.splitlines():
        bare = line.strip()
        key = bare.removeprefix("- ").partition(":")[0]
        if bare == "model-index:":
            inside = True
            lines.append(bare)
        elif not inside or not (key == "results" or key in SECTIONS or key in FIELDS):
            inside = inside and not bare
            lines.append(line)
        else:
            lines.append(" " * _depth(bare, key, lines) + bare)
    return "\n".join(lines)


def _depth(bare: str, key: str, before: list[str]) -> int:
    is_item = bare.startswith("- ")
    if key == "results" or (is_item and key in SECTIONS):
        return 2
    if key in SECTIONS:
        return 4
    if before[-1] == "model-index:":
        return 0
    return 4 if is_item else 6


def _entries(index: Any) -> Iterator[Entry]:
    for model in _mappings(index):
        for result in _mappings(model.get("results")):
            dataset = result.get("dataset")
            name = dataset.get("name", dataset.get("type")) if isinstance(dataset, dict) else dataset
            for metric in _mappings(result.get("metrics")):
                yield Entry(
                    _text(model.get("name")), _text(name), _text(metric.get("type")), figure(metric.get("value"))
                )


def _mappings(value: Any) -> list[dict[Any, Any]]:
    """Return the mappings in a list; the metadata of a card may hold anything."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Return a name; an alias in YAML can stand for a list of any size, whose text would never end."""
    return str(value) if isinstance(value, str | int | float) else ""


def figure(value: Any) -> float | None:
    """Return a finite number, which may be written as text, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def _results(path: Path, tables: tuple[Table, ...], first_line: int) -> Iterator[ScoreTable]:
    """Yield the tables of models by tasks, ignoring others."""
    for table in tables:
        if table.header and is_of_models(table.header) and len(table.header) > 2:
            try:
                scores = wide(str(path), table.header, [(n + first_line - 1, cells) for n, cells in table.rows])
            except UserError:
                continue
            yield scores
