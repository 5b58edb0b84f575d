"""JSON lines with entities as spans: `{"text": ..., "entities": [{"start": 0, "end": 7, "label": "CHEM"}]}`.

An entity may also be `[start, end, label]`; a discontinuous one has `fragments` instead of `start` and `end`.
`data.text` and `data.label` name the two keys; by default the second is `entities`, or `label` in a file without it, as
written by doccano.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from detour.config.models import Task, TaskData
from detour.corpus.sources import Table, kind_of
from detour.corpus.streams import open_text
from detour.errors import UserError
from detour.tasks.document import Document, Entity
from detour.tasks.readers.registry import Reader
from detour.tasks.splits import split_in

KEYS = ("entities", "label")
"""Keys of the entities; the first that a file has is used, unless the recipe names one."""


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:  # noqa: ARG001
    data = task.data
    assert data is not None
    column = data.split_column
    for path in paths:
        wanted = [data.text, _key(path, data), *([column] if column else [])]
        table = Table(path, wanted, format="jsonl", exclude=data.exclude)
        for number, (text, found, *given) in enumerate(table, 1):
            try:
                entities = _entities(text, found, data)
                split = split_in(column, *given) if column else None
            except (UserError, ValueError) as error:
                raise table.error(str(error)) from None
            yield Document(text, frozenset(), split, entities, f"{path.stem} {number}", path)


def _key(path: Path, data: TaskData) -> str:
    """Return the key of the entities, by the file's first row; problems with that are reported when it is read."""
    if data.label != KEYS[-1]:
        return data.label
    try:
        with open_text(path) as file:
            row = orjson.loads(next((line for line in file.byte_lines() if not line.isspace()), b""))
    except (UserError, orjson.JSONDecodeError):
        row = None
    return next((key for key in KEYS if isinstance(row, dict) and key in row), KEYS[0])


def _entities(text: Any, found: Any, data: TaskData) -> tuple[Entity, ...]:
    """Return the entities. Raises ValueError if the text is not text or the entities are not a list of its spans."""
    if not isinstance(text, str):
        raise ValueError(f"`{data.text}` is a {kind_of(text)}, expected text")
    if not isinstance(found, list):
        raise ValueError(f"its entities are a {kind_of(found)}, expected a list")
    entities = (_entity(item, text) for item in found)
    return tuple(entity for entity in entities if not data.entity_labels or entity.label in data.entity_labels)


def _entity(item: Any, text: str) -> Entity:
    """Return an entity, comparing its `text`, if given, with its spans: offsets may have been counted in bytes."""
    if isinstance(item, list) and len(item) == 3:
        item = {"start": item[0], "end": item[1], "label": item[2]}
    if not isinstance(item, dict) or not isinstance(item.get("label"), str) or not item["label"].strip():
        raise ValueError(f"{item!r} is not an entity: expected start, end and label, or fragments and label")
    spans = item.get("fragments", [[item.get("start"), item.get("end")]])
    if not isinstance(spans, list) or not spans or not all(_is_span(span) for span in spans):
        raise ValueError(f"{item!r} has no spans: expected whole numbers, the start before the end")
    fragments = tuple(sorted((start, end) for start, end in spans))
    if any(start < end for (_, end), (start, _) in pairwise(fragments)):
        raise ValueError(f"{item!r}: its fragments overlap")
    if fragments[-1][1] > len(text):
        raise ValueError(f"{item!r} ends at {fragments[-1][1]:,} and the text has {len(text):,} characters")
    mention, there = item.get("text"), " ".join(text[start:end] for start, end in fragments)
    if isinstance(mention, str) and mention.split() != there.split():
        raise ValueError(f"{item!r}: the text has {there!r} there")
    return Entity(item["label"], fragments)


def _is_span(span: Any) -> bool:
    if not isinstance(span, list | tuple) or len(span) != 2 or not all(type(place) is int for place in span):
        return False
    return bool(0 <= span[0] < span[1])


READER = Reader(
    read,
    'JSON lines such as {"text": ..., "entities": [{"start": 0, "end": 7, "label": "CHEM"}]}',
    suffixes=(".jsonl", ".ndjson"),
    types=("ner",),
    has_columns=True,
)
