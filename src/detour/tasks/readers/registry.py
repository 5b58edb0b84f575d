"""The readers by name, one per layout. Installed packages may add their own under the entry point `detour.readers`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document
from detour.text import suggestion

ENTRY_POINTS = "detour.readers"
Read = Callable[[Sequence[Path], Task, Counter[str]], Iterator[Document]]
"""Reads documents from sorted files, counting rows that it leaves out by reason. Raises UserError, naming file and
line, for anything it cannot read."""


@dataclass(frozen=True, slots=True)
class Reader:
    read: Read
    layout: str
    """What the files must look like, for messages."""
    suffixes: tuple[str, ...]
    """Suffixes of the files to read in a folder."""
    types: tuple[str, ...]
    """Types of tasks that it supports."""
    has_columns: bool = False
    """Whether `split_column` may give the split."""
    is_paired: bool = False
    """Whether a document is two files, one of each suffix: given one of them, its companion is read too."""


BUILT_IN = ("table", "brat", "brat-codes", "bio", "tokens", "spans", "diamed", "fracco", "meddialog")


def reader_named(name: str) -> Reader:
    """Return a reader. Raises UserError for an unknown name, with the closest one."""
    if name in BUILT_IN:
        reader: Reader = import_module(f"detour.tasks.readers.{name.replace('-', '_')}").READER
        return reader
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in added:
        loaded: Reader = added[name].load()
        return loaded
    raise UserError(f"there is no reader `{name}`{suggestion(name, [*BUILT_IN, *sorted(added)])}")
