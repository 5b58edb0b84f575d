"""FrACCO: a CSV of annotations, with a byte-order mark, and the texts in `ann_txt_files/`.

The first column, whatever its name, holds the document (`ID.ann`); `code` holds one or several codes, joined by `;`.
`data.entity_labels` selects the annotations that count, by the column `label`.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document
from detour.tasks.label_values import MISSING
from detour.tasks.readers.lines import decoded
from detour.tasks.readers.registry import Reader

CODE, LABEL = "code", "label"


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:
    assert task.data is not None
    texts = {path.stem: path for path in paths if path.suffix == ".txt"}
    codes: dict[str, set[str]] = defaultdict(set)
    tables = [path for path in paths if path.suffix == ".csv"]
    if not tables:
        raise UserError(f"{paths[0].parent}: no CSV of annotations among the files")
    for path in tables:
        for line, name, label, code in _annotations(path):
            if name not in texts:
                raise UserError(f"{path}: line {line}: the text of {name!r}, {name}.txt, is not there")
            if not task.data.entity_labels or label in task.data.entity_labels:
                codes[name] |= {
                    part for part in map(str.strip, code.split(";")) if part and part.casefold() not in MISSING
                }
    for name, path in sorted(texts.items()):
        text = decoded(path).removeprefix("\ufeff")
        if not text.strip():
            dropped["empty document"] += 1
            continue
        yield Document(text, frozenset(codes[name]), name=name, path=path)


def _annotations(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Yield line, document, label and code of each annotation; codes may be empty or `nan`."""
    reader = csv.reader(StringIO(decoded(path).removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = next(reader, [])
        if missing := [column for column in (CODE, LABEL) if column not in header[1:]]:
            raise UserError(f"{path}: line 1: no column `{missing[0]}`; available: {', '.join(header) or 'none'}")
        code, label = header.index(CODE), header.index(LABEL)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise UserError(f"{path}: line {reader.line_num}: {len(row)} fields, the header has {len(header)}")
            yield reader.line_num, row[0].strip().removesuffix(".ann"), row[label].strip(), row[code]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not CSV: {error}") from error


READER = Reader(
    read,
    "the folder that holds DetectOnco_Final.csv and ann_txt_files/ID.txt",
    suffixes=(".csv", ".txt"),
    types=("multilabel",),
)
