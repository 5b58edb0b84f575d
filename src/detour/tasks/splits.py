"""Training, validation and test: drawn, or as the data give them."""

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


def split_named(name: str) -> SplitName:
    """Raises UserError for what is no name of a split."""
    if (split := SPELLINGS.get(name.strip().casefold())) is None:
        raise UserError(f"{name!r} is no split: expected one of {', '.join(SPELLINGS)}")
    return split


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest one that all the files are in."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def split_by_files(documents: Iterable[Document], paths: Sequence[Path]) -> list[Document]:
    """Each document in the split that its file's folders or name say. Raises UserError for a file that says none."""
    root = common_folder(paths)
    splits = {path: _split_of(path, root) for path in paths}
    return [replace(document, split=splits[_file_of(document)]) for document in documents]


def _file_of(document: Document) -> Path:
    if document.path is None:
        raise UserError(f"document {document.name!r}: its reader gives it no `path`, which `split_files` goes by")
    return document.path


def _split_of(path: Path, root: Path) -> SplitName:
    """By the nearest folder below `root` that is named after a split, else by a word of the file's name."""
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
    """Raises ValueError when one of the three is empty."""
    splits = tuple(tuple(document for document in documents if document.split == name) for name in SPLITS)
    if empty := [name for name, members in zip(SPLITS, splits, strict=True) if not members]:
        raise ValueError(f"the data's own split leaves {' and '.join(empty)} without a document")
    return splits


def draw(documents: Sequence[Document], split: Split) -> tuple[tuple[Document, ...], ...]:
    """Training, validation and test documents, in the order of SHA-256(seed, text).

    The order depends neither on the rows' order nor on a library's random generator, so it holds across versions.
    Percentages are of all documents; what rounding leaves goes to the test split. Raises ValueError when there are too
    few documents.
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
