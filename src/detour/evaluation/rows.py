"""Rows of a task's file, as dicts of the columns asked for, each with its number for messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from detour.errors import UserError

Row = tuple[int, dict[str, Any]]
"""Number of the row in its file, from 1, the header not counted; column -> value."""
_FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_CSV_BLOCK_BYTES = 64 << 20


def read_rows(path: Path, columns: Sequence[str], file_format: str = "auto", separator: str = ",") -> Iterator[Row]:
    """CSV (every value a string), JSON lines or Parquet; `.gz` and `.zst` are decompressed.

    Raises UserError, naming the file, for a format that cannot be told, a column that is missing or a file that
    cannot be read as what it claims to be.
    """
    if file_format == "auto":
        file_format = format_of(path)
    try:
        if file_format == "csv":
            yield from _number(_csv(path, columns, separator))
        elif file_format == "parquet":
            yield from _number(_parquet(path, columns))
        else:
            yield from _json_lines(path, columns)
    except KeyError as error:
        raise UserError(f"{path}: {error.args[0]}") from None
    except (OSError, UnicodeDecodeError, pyarrow.ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read as {file_format}: {error}") from error


def format_of(path: Path) -> str:
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zst")]
    if suffixes and suffixes[-1] in _FORMATS:
        return _FORMATS[suffixes[-1]]
    raise UserError(f"{path}: the format cannot be told from the name; set `format` to csv, jsonl or parquet")


def _number(tables: Iterator[pyarrow.RecordBatch]) -> Iterator[Row]:
    number = 0
    for table in tables:
        for row in table.to_pylist():
            number += 1
            yield number, row


def _csv(path: Path, columns: Sequence[str], separator: str) -> Iterator[pyarrow.RecordBatch]:
    with pyarrow.input_stream(path, compression="detect") as stream:
        yield from pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
            pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                include_columns=list(columns), column_types=dict.fromkeys(columns, pyarrow.string())
            ),
        )


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    with pyarrow.parquet.ParquetFile(path) as file:
        for column in columns:
            if column not in file.schema_arrow.names:
                raise KeyError(f"column {column!r} is not there; it has {', '.join(file.schema_arrow.names)}")
        yield from file.iter_batches(columns=list(columns))


def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with pyarrow.input_stream(path, compression="detect") as stream:
        lines = enumerate(stream.read().splitlines(), start=1)
    for number, line in lines:
        try:
            record = orjson.loads(line)
            yield number, {column: record[column] for column in columns}
        except (orjson.JSONDecodeError, TypeError) as error:
            raise UserError(f"{path}: line {number} is not a JSON object: {error}") from None
        except KeyError as error:
            raise UserError(f"{path}: line {number} has no field {error}") from None
