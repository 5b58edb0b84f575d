"""Rows of tokens and tags, as most flat data sets of entities on the hub: `tokens` and `ner_tags`, in jsonl or parquet.

Tags are IOB2, optionally with `E-X` and `S-X`, or numbers whose names a parquet file from the hub has in its metadata.
`data.text` and `data.label` name other columns. The text consists of the tokens separated by spaces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detour.config.models import Task
from detour.corpus.sources import table_of
from detour.errors import UserError
from detour.tasks.document import Document
from detour.tasks.readers.bio import Growing
from detour.tasks.readers.registry import Reader
from detour.tasks.splits import split_in

TOKENS, TAGS = "tokens", "ner_tags"


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:
    data = task.data
    assert data is not None
    tokens_in = TOKENS if data.text == "text" else data.text
    tags_in = TAGS if data.label == "label" else data.label
    for path in paths:
        table = table_of(data, path, [tokens_in, tags_in, *([data.split_column] if data.split_column else [])])
        names = class_names(path, tags_in) if table.format == "parquet" else []
        for number, (tokens, tags, *given) in enumerate(table, 1):
            try:
                grown = _grown(tokens, _named(tags, names))
                split = split_in(data.split_column, *given) if data.split_column else None
            except (UserError, ValueError) as error:
                raise table.error(str(error)) from None
            if not grown.text:
                dropped["no token"] += 1
                continue
            wanted = [one for one in grown.entities if not data.entity_labels or one.label in data.entity_labels]
            yield Document(grown.text, frozenset(), split, tuple(wanted), f"{path.stem} {number}", path)


def class_names(path: Path, column: str) -> list[str]:
    """Return the names of a column's numbers, which the hub's library writes into the file's schema; empty if none."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        written = (read_schema(path).metadata or {}).get(b"huggingface", b"{}")
        feature = json.loads(written)["info"]["features"][column]
        names = feature.get("feature", feature)["names"]
    except (ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _named(tags: Any, names: Sequence[str]) -> Any:
    if not isinstance(tags, list) or not any(type(tag) is int for tag in tags):
        return tags
    if not names:
        raise ValueError("its tags are numbers without names: expected O, B-X, I-X, or the hub's own parquet file")
    if unknown := [tag for tag in tags if type(tag) is not int or not 0 <= tag < len(names)]:
        raise ValueError(f"the tag {unknown[0]!r} is none of the file's {len(names)}")
    return [names[tag] for tag in tags]


def _grown(tokens: Any, tags: Any) -> Growing:
    """Return the document. Raises ValueError if the two are not lists of texts of one length, or for a wrong tag."""
    for name, found in (("tokens", tokens), ("tags", tags)):
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ValueError(f"its {name} are no list of texts")
    if len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens and {len(tags)} tags")
    grown = Growing()
    for token, tag in zip(tokens, tags, strict=True):
        if not token.strip():
            raise ValueError("a token is empty")
        grown.add(token.strip(), tag)
    return grown


READER = Reader(
    read,
    "jsonl or parquet files with rows of `tokens` and `ner_tags` (IOB2), as on the hub",
    suffixes=(".jsonl", ".ndjson", ".parquet"),
    types=("ner",),
    has_columns=True,
)
