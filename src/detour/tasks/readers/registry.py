"""The readers by name: one a layout. An installed package may add its own under the entry point `detour.readers`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document

ENTRY_POINTS = "detour.readers"
Read = Callable[[Sequence[Path], Task, Counter[str]], Iterator[Document]]
"""Files, sorted -> documents. Rows that are no documents are counted by their reason in the counter. Raises UserError,
naming file and line, for what cannot be read."""


@dataclass(frozen=True, slots=True)
class Reader:
    read: Read
    layout: str
    """What the files must be, for people."""
    suffixes: tuple[str, ...]
    """Of the files that are read where a folder is given; of one file, those beside it with these suffixes are too."""
    types: tuple[str, ...]
    """Of the tasks that it serves."""
    has_columns: bool = False
    """Whether `split_column` may say the split."""


BUILT_IN = ("table", "brat", "brat-codes", "bio", "spans", "diamed", "fracco", "meddialog")


def reader_named(name: str) -> Reader:
    """Raises UserError, with the nearest name, for one that there is not."""
    if name in BUILT_IN:
        reader: Reader = import_module(f"detour.tasks.readers.{name.replace('-', '_')}").READER
        return reader
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in added:
        loaded: Reader = added[name].load()
        return loaded
    known = [*BUILT_IN, *sorted(added)]
    nearest = get_close_matches(name, known, 1)
    hint = f"did you mean `{nearest[0]}`?" if nearest else f"there are: {', '.join(known)}"
    raise UserError(f"there is no reader `{name}`: {hint}")
