"""Stream rows from jsonl, csv, parquet and plain text files, compressed or not.

Any problem is reported with its file and line or byte. Only rows that the recipe excludes and, in a corpus, blank texts
are skipped, and both are counted.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from detour.config.models import Source, TaskData
from detour.corpus.files import Format, GivenFormat, Quoting, SourceError, file_format, importing_for, is_tsv
from detour.corpus.streams import MAX_LINE_BYTES, TextFile, open_text

PARQUET_BATCH_ROWS = 1024
TEXT_COLUMN = "text"

Values = Sequence[Any]

ONE_OBJECT_A_LINE = "expected an object in each line; `jq -c '.[]' FILE` makes such lines of a list"


class Table:
    """The selected columns of one file's rows, which can be iterated once, with the position reached."""

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        format: GivenFormat = "auto",
        separator: str = ",",
        quoting: Quoting = "auto",
        exclude: Mapping[str, str] | None = None,
    ) -> None:
        """`exclude` maps a column to a regular expression: rows whose value matches at its start are left out.

        A text file is one row with one column, `text`. Raises SourceError if the format is unknown.
        """
        self.path = path
        self.format: Format = file_format(path, format)
        self.separator = separator
        self.has_quotes = not is_tsv(path) if quoting == "auto" else quoting == "double"
        self.excluded = 0
        self.position = 0
        """Approximate number of bytes of the file read so far; equal to its size at the end."""
        self.place = ""
        """Place of the last row yielded: `line 12`, `row 3`."""
        self._wanted = [*columns, *(exclude or {})]
        self._given = len(columns)
        self._patterns = [_compiled(path, column, pattern) for column, pattern in (exclude or {}).items()]

    def __iter__(self) -> Iterator[Values]:
        """Yield rows that are not excluded. Raises SourceError for anything unreadable and for a file without rows."""
        readers: dict[Format, Callable[[], Iterator[Values]]] = {
            "jsonl": self._jsonl,
            "csv": self._csv,
            "parquet": self._parquet,
            "text": self._text,
        }
        rows = 0
        for values in readers[self.format]():
            rows += 1
            if self._patterns and self._is_excluded(values):
                self.excluded += 1
            else:
                yield values[: self._given]
        if not rows:
            raise SourceError(f"{self.path}: holds no row")
        self.position = self.path.stat().st_size

    def error(self, problem: str) -> SourceError:
        """Return the error for a problem with the last row yielded."""
        return SourceError(f"{self.path}: {self.place}: {problem}")

    def _is_excluded(self, values: Values) -> bool:
        return any(
            pattern.match("" if value is None else str(value))
            for pattern, value in zip(self._patterns, values[self._given :], strict=True)
        )

    def _missing(self, column: str, existing: Sequence[object]) -> SourceError:
        place = f"{self.path}: {self.place}" if self.place else str(self.path)
        names = ", ".join(map(str, existing)) or "none"
        hint = _separator_hint(names) if self.format == "csv" else ""
        return SourceError(f"{place}: no column `{column}`; available: {names}{hint}")

    def _at(self, file: TextFile, line: int) -> None:
        self.place = f"line {line}"
        self.position = file.position

    def _jsonl(self) -> Iterator[Values]:
        with open_text(self.path) as file:
            for line in file.byte_lines():
                if line.isspace():
                    continue
                self._at(file, file.line)
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    file.decode(line)
                    if line.strip() == b"[":
                        raise self.error(f"a JSON list, {ONE_OBJECT_A_LINE}") from error
                    raise self.error(f"not JSON: {error.msg} at character {error.pos + 1}") from error
                if not isinstance(record, dict):
                    raise self.error(f"a JSON {kind_of(record)}, {ONE_OBJECT_A_LINE}")
                try:
                    yield [record[column] for column in self._wanted]
                except KeyError as error:
                    raise self._missing(error.args[0], list(record)) from error

    def _csv(self) -> Iterator[Values]:
        csv.field_size_limit(MAX_LINE_BYTES)
        with open_text(self.path) as file:
            quoting: Any = csv.QUOTE_MINIMAL if self.has_quotes else csv.QUOTE_NONE
            reader = csv.reader(file.lines(), delimiter=self.separator, quoting=quoting, strict=True)
            try:
                header = next(reader)
                places = [self._column(header, column) for column in self._wanted]
                for record in reader:
                    if not record:
                        continue
                    self._at(file, reader.line_num)
                    if len(record) != len(header):
                        unquoted = self.has_quotes and len(record) > len(header)
                        hint = f": a field that contains `{self.separator}` must be quoted" if unquoted else ""
                        raise self.error(
                            f"{len(record)} fields, the header has {len(header)}{hint}{self._quoting_hint()}"
                        )
                    yield [record[place] for place in places]
            except csv.Error as error:
                raise SourceError(
                    f"{self.path}: line {reader.line_num}: not CSV: {error}{self._quoting_hint()}"
                ) from error

    def _quoting_hint(self) -> str:
        if self.has_quotes:
            return "; where quotation marks enclose no field, set `quoting: none`"
        return "; where quotation marks enclose fields, set `quoting: double`"

    def _column(self, header: Sequence[str], column: str) -> int:
        if header.count(column) > 1:
            raise SourceError(f"{self.path}: the column `{column}` appears twice: rename one of them")
        if column not in header:
            raise self._missing(column, header)
        return header.index(column)

    def _parquet(self) -> Iterator[Values]:
        with importing_for(self.path):
            import pyarrow as pa
            from pyarrow import parquet

        size = self.path.stat().st_size
        try:
            with parquet.ParquetFile(self.path) as file:
                for column in self._wanted:
                    self._column(file.schema_arrow.names, column)
                row = 0
                for batch in file.iter_batches(PARQUET_BATCH_ROWS, columns=list(dict.fromkeys(self._wanted))):
                    lists = {name: batch.column(name).to_pylist() for name in batch.schema.names}
                    for values in zip(*(lists[column] for column in self._wanted), strict=True):
                        row += 1
                        self.place = f"row {row}"
                        yield values
                    self.position = size * row // file.metadata.num_rows
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            place = f" after {self.place}" if self.place else ""
            raise SourceError(f"{self.path}: not readable as parquet{place}: {error}") from error

    def _text(self) -> Iterator[Values]:
        for column in self._wanted:
            if column != TEXT_COLUMN:
                raise self._missing(column, [TEXT_COLUMN])
        with open_text(self.path) as file:
            lines, size = [], 0
            for line in file.lines():
                size += len(line)
                if size > MAX_LINE_BYTES:
                    raise SourceError(
                        f"{self.path}: a text file is one document, and this one is longer than {MAX_LINE_BYTES:,} "
                        "characters; split it, or write its documents as jsonl"
                    )
                lines.append(line)
            self._at(file, 1)
            yield ["".join(lines)] * len(self._wanted)


def table_of(entry: Source | TaskData, path: Path, columns: Sequence[str]) -> Table:
    """Return the rows of one of an entry's files, read as the recipe says."""
    return Table(
        path,
        columns,
        format=entry.format,
        separator=entry.separator,
        quoting=entry.quoting,
        exclude=entry.exclude,
    )


def read_texts(table: Table) -> Iterator[str]:
    """Yield the single column of a table as text, including blank texts. Raises SourceError for other values."""
    for (value,) in table:
        if value is None:
            yield ""
        elif isinstance(value, str):
            yield value
        else:
            raise table.error(f"the document is a {kind_of(value)}, expected text")


def _separator_hint(names: str) -> str:
    """Return what to set if the names of the columns hold what could separate them."""
    separator = next((letter for letter in "\t;|" if letter in names), None)
    if separator is None:
        return ""
    kind = "tab-separated fields" if separator == "\t" else f"fields between `{separator}`"
    return f"; for {kind} set `separator: {json.dumps(separator)}`"


def _compiled(path: Path, column: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SourceError(f"{path}: exclude.{column}: {pattern!r} is not a regular expression: {error}") from error


def kind_of(value: object) -> str:
    """Return the JSON name of a value's type."""
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return kinds.get(type(value), "null" if value is None else type(value).__name__)
