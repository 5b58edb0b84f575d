"""Read scores from files: one row per score (CSV, JSON, JSON lines), or models by tasks (CSV, Markdown, JSON)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from detour.canonical import first_repeated, read_once
from detour.errors import UserError
from detour.statistics.markdown import tables_in
from detour.statistics.score_columns import bare_cell, column_kind, is_by_tasks, is_of_models, turned
from detour.statistics.scores import LARGEST_SCORE, Score, ScoreTable, in_points, mixed_scales
from detour.text import bare_number

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".md", ".txt")
MISSING = ("", "-", "–", "—", "na", "n/a", "nan", "none", "null")
HIGHEST = 100.0
VALUE = ("value", "score")
DECORATION = re.compile(r"\s*(±|\+/-|\\pm|\(|_\{|<su[bp]>).*$")
"""Spread or footnote after a mean; a spread cannot be used without the seeds."""
MARKS = re.compile(r"</?[a-z]+>|\\[a-z]+\{|[*`$}†‡]|\s%$")
"""Markup of a figure: bold, underline, footnotes."""

Row = Mapping[str, Any]


def read_scores(path: Path, metric: str | None = None) -> ScoreTable:
    """Read a file of scores. Raises UserError, with file and line, if it is not a table of scores."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    if path.suffix in (".json", ".jsonl"):
        return _from_json(path, text, metric)
    if path.suffix in (".md", ".txt"):
        return _from_markdown(path, text)
    lines = text.splitlines()
    delimiter = max(",;\t", key=(lines[0] if lines else "").count)
    header, *rows = [
        (number, [field.strip() for field in row])
        for number, row in enumerate(csv.reader(lines, delimiter=delimiter), 1)
        if any(field.strip() for field in row)
    ] or [(1, [])]
    names = [name.casefold() for name in header[1]]
    if (twice := first_repeated(filter(None, names))) is not None:
        raise UserError(f"{path}:{header[0]}: the column {twice!r} appears twice; keep one of them")
    if "task" in names and ("model" in names or not is_by_tasks(header[1])):
        return _long(path, ((n, dict(zip(names, row, strict=False))) for n, row in rows), metric)
    return wide(str(path), header[1], rows)


def wide(source: str, header: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]) -> ScoreTable:
    """Read a table of models by tasks, or of tasks by models; `rows` are (line number, cells).

    The first column names the models; a column `seed` makes it one row per model and seed.
    """
    if is_by_tasks(header):
        header, rows = turned(header, rows)
    read = [(number, bare_cell(row[0]), row[1:]) for number, row in rows if row]
    columns = [bare_cell(name) for name in header[1:]]
    if not read or not columns:
        raise UserError(
            f"{source}: no table of scores; expected a column of models and a column per task, or the columns "
            "model, task, seed, metric, value"
        )
    seeds = _seeds_of(source, columns, read)
    published: dict[str, float] = {}
    notes: list[str] = []
    scores: list[Score] = []
    for place, name in enumerate(columns):
        cells = [cells[place] if place < len(cells) else "" for _, _, cells in read]
        values = [_number(source, number, cell) for (number, _, _), cell in zip(read, cells, strict=True)]
        numbers = [value for value in values if isinstance(value, float)]
        kind = column_kind(name, cells)
        if kind == "seed" or (kind == "average" and any(seed is not None for seed in seeds)):
            continue
        if kind == "average":
            published = {
                model: value for (_, model, _), value in zip(read, values, strict=True) if isinstance(value, float)
            }
        elif kind != "score":
            notes.append(f"column {name} left out: {kind}")
        elif any(isinstance(value, str) for value in values) or not name:
            notes.append(f"column {name or place + 2} has no numbers: left out")
        elif numbers and max(numbers) > HIGHEST:
            notes.append(f"column {name} left out: {max(numbers):g} is not a score")
        else:
            scores += [
                Score(model, name, seed, value)
                for (_, model, _), seed, value in zip(read, seeds, values, strict=True)
                if not isinstance(value, str)
            ]
    if not scores:
        raise UserError(f"{source}: its table has no column of scores; expected numbers from 0 to 100")
    return ScoreTable.of(in_points(scores), None, _in_points(published, scores), [*notes, *mixed_scales(scores)])


def _seeds_of(source: str, columns: Sequence[str], rows: Sequence[tuple[int, str, Sequence[str]]]) -> list[int | None]:
    """Return the seed of each row, None in a table without a column of seeds."""
    place = next((place for place, name in enumerate(columns) if column_kind(name, ()) == "seed"), None)
    if place is None:
        return [None] * len(rows)
    return [_seed(f"{source}:{number}", cells[place] if place < len(cells) else None) for number, _, cells in rows]


def _in_points(published: dict[str, float], scores: Sequence[Score]) -> dict[str, float]:
    factor = 1 if in_points(scores) == list(scores) else 100
    return {model: factor * value for model, value in published.items()}


def _long(path: Path, rows: Iterable[tuple[int, Row]], metric: str | None) -> ScoreTable:
    scores: list[Score] = []
    metrics: dict[str, int] = {}
    for number, row in rows:
        where = f"{path}:{number}"
        value = next((row[name] for name in VALUE if name in row), "")
        if not row.get("model") or not row.get("task"):
            raise UserError(
                f"{where}: a score needs a model and a task; expected the columns model, task, seed, metric, value"
            )
        named = str(row.get("metric") or "")
        metrics.setdefault(named, number)
        if metric is None or named in ("", metric):
            found = _number(str(path), number, _decimal_point(value))
            if isinstance(found, str):
                raise UserError(f"{where}: value {found!r} is not a number; expected a score such as 74.8, or nothing")
            scores.append(Score(str(row["model"]), str(row["task"]), _seed(where, row.get("seed")), found))
    if not scores:
        known = ", ".join(filter(None, metrics))
        raise UserError(f"{path}: no score" + (f" of {metric}; it has {known}" if metric and known else ""))
    if metric is None and len(metrics) > 1:
        raise UserError(f"{path}: several metrics ({', '.join(metrics)}); choose one with --metric")
    try:
        return ScoreTable.of(in_points(scores), metric or next(iter(metrics)) or None, None, mixed_scales(scores))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _from_json(path: Path, text: str, metric: str | None) -> ScoreTable:
    if path.suffix == ".jsonl":
        lines = enumerate(text.split("\n"), 1)
        content: Any = [_json_value(f"{path}:{number}", line) for number, line in lines if line.strip()]
    else:
        content = _json_value(str(path), text)
    if isinstance(content, dict) and isinstance(content.get("results"), list):
        content = content["results"]
    if isinstance(content, dict):
        content = list(_nested(path, content))
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(
            f"{path}: expected a list of objects with model, task, seed, metric and value, or model -> task -> score"
        )
    return _long(path, enumerate(content, 1), metric)


def _json_value(where: str, text: str) -> Any:
    try:
        return read_once(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON as scores need it ({error})") from None


def _nested(path: Path, content: Mapping[str, Any]) -> Iterator[Row]:
    """Yield rows from model -> task -> score, or model -> task -> seed -> score."""
    for model, tasks in content.items():
        if not isinstance(tasks, dict):
            raise UserError(f"{path}: {model}: expected task -> score, or task -> seed -> score")
        for task, scores in tasks.items():
            by_seed = scores if isinstance(scores, dict) else {None: scores}
            yield from ({"model": model, "task": task, "seed": seed, "value": v} for seed, v in by_seed.items())


def _from_markdown(path: Path, text: str) -> ScoreTable:
    """Read the first table of the file whose first column is called Model and that holds scores."""
    for table in tables_in(text):
        if len(table.header) > 1 and is_of_models(table.header):
            try:
                return wide(str(path), table.header, table.rows)
            except UserError:
                continue
    raise UserError(
        f"{path}: no table of scores; its first column must be called Model and the others be named for tasks, or "
        "Task and the others for models"
    )


def _number(source: str, line: int, cell: Any) -> float | str | None:
    """Parse a cell: a number that can be a score, None if it marks a missing score, otherwise its text."""
    if isinstance(cell, bool):
        raise UserError(f"{source}:{line}: {cell} is not a score")
    if isinstance(cell, int | float):
        return _bounded(cell, str(cell))
    text = MARKS.sub("", DECORATION.sub("", str(cell if cell is not None else ""))).strip(" %_")
    if text.casefold() in MISSING:
        return None
    try:
        found = float(bare_number(text))
    except ValueError:
        return text
    return _bounded(found, text)


def _bounded(found: float, text: str) -> float | str | None:
    if abs(found) <= LARGEST_SCORE:
        return float(found)
    return text if abs(found) < inf else None


def _seed(where: str, value: Any) -> int | None:
    """Return a whole number, which other programs may have written as 42.0; None if there is none."""
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    try:
        return int(re.sub(r"\.0+$", "", text))
    except ValueError:
        raise UserError(f"{where}: seed {value!r} is not a whole number") from None


def _decimal_point(value: Any) -> Any:
    """Return a score with a decimal point: in a column of single scores a comma never separates thousands."""
    return re.sub(r"^(\s*-?\d+),(\d+\s*%?\s*)$", r"\1.\2", value) if isinstance(value, str) else value
