"""Divide documents into training, validation and test: by a draw, or as given by the data."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from detour.config.models import Split
from detour.errors import UserError
from detour.tasks.document import SPLITS, Document, SplitName
from detour.tasks.repeats import order_key

SPELLINGS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_WORDS = re.compile(r"[^\W\d_]+")


def split_in(column: str, value: object) -> SplitName:
    """Return the split in a row's column. Raises UserError if it is not one."""
    if not isinstance(value, str) or (split := SPELLINGS.get(value.strip().casefold())) is None:
        raise UserError(f"column `{column}` holds {value!r}: expected one of {', '.join(SPELLINGS)}")
    return split


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that contains all the files."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def split_by_files(documents: Iterable[Document], paths: Sequence[Path]) -> list[Document]:
    """Set each document's split from its file's folders or name. Raises UserError for a file that gives none."""
    root = common_folder(paths)
    splits = {path: _split_of(path, root) for path in paths}
    return [replace(document, split=splits[_file_of(document)]) for document in documents]


def _file_of(document: Document) -> Path:
    if document.path is None:
        raise UserError(f"document {document.name!r}: its reader gives it no `path`, which `split_files` goes by")
    return document.path


def _split_of(path: Path, root: Path) -> SplitName:
    """Return the split from the nearest folder below `root` named after one, otherwise from a word of the file name."""
    folders = path.relative_to(root).parent.parts
    named = [SPELLINGS[folder.casefold()] for folder in reversed(folders) if folder.casefold() in SPELLINGS]
    words = {SPELLINGS[word] for word in _WORDS.findall(path.name.casefold()) if word in SPELLINGS}
    if named:
        return named[0]
    if len(words) == 1:
        return words.pop()
    said = f"its name says {' and '.join(sorted(words))}" if words else "no folder and no word of its name says a split"
    raise UserError(f"{path}: {said}: `split_files` expects one of train, dev, validation and test; or draw a `split`")


def given_splits(documents: Sequence[Document]) -> tuple[tuple[Document, ...], ...]:
    """Return the documents by their given split. Raises ValueError for another one, or if one of the three is empty."""
    for document in documents:
        if document.split not in SPLITS:
            names = ", ".join(SPLITS)
            raise ValueError(f"document {document.name!r} is of the split {document.split!r}: expected one of {names}")
    splits = tuple(tuple(document for document in documents if document.split == name) for name in SPLITS)
    if empty := [name for name, members in zip(SPLITS, splits, strict=True) if not members]:
        raise ValueError(f"the data's own split leaves {' and '.join(empty)} without a document")
    return splits


def draw(documents: Sequence[Document], split: Split) -> tuple[tuple[Document, ...], ...]:
    """Draw training, validation and test documents, in the order of SHA-256(seed, text).

    The order depends neither on the order of rows nor on a library's random generator, so it is stable across versions.
    Percentages refer to all documents; the remainder from rounding goes to the test split. Raises ValueError if there
    are too few documents.
    """

    def position(document: Document) -> bytes:
        return hashlib.sha256(f"{split.seed}\n{order_key(document.text)}".encode()).digest()

    train, validation, test = split.train, split.validation, split.test
    if split.unit == "percent":
        train, validation = len(documents) * train // 100, len(documents) * validation // 100
        test = len(documents) - train - validation
    if len(documents) < train + validation + test or not (train and validation and test):
        asked = f"{split.train:,} / {split.validation:,} / {split.test:,} {split.unit}"
        raise ValueError(f"`split` asks for {asked} and there are {len(documents):,} different documents")
    shuffled = tuple(sorted(documents, key=position))
    ends = (train, train + validation, train + validation + test)
    return tuple(shuffled[start:end] for start, end in zip((0, *ends[:2]), ends, strict=True))
