"""The output folder of `prepare`, and the index of its content.

tokenizer/                   loaded by AutoTokenizer
index.json                   `Index`; written last, so a folder without it is not a corpus
<split>/<source>/
    tokens.bin               every document with its [CLS] and [SEP], one after the other, in shuffled order
    documents.npy            int64: start of each document in tokens.bin, and the end of the last one
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from detour.errors import NotReady
from detour.files import write_atomic
from detour.sums import complete_sum

Split = Literal["train", "validation"]
SPLITS: tuple[Split, Split] = ("train", "validation")
INDEX = "index.json"
TOKENIZER = "tokenizer"
TOKENS = "tokens.bin"
DOCUMENTS = "documents.npy"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpecialTokens(_Record):
    """Ids of the special tokens."""

    pad: int
    cls: int
    sep: int
    mask: int
    unk: int | None = None


class SourceIndex(_Record):
    weight: float
    train_tokens: int
    train_documents: int
    validation_tokens: int
    validation_documents: int
    blank_documents: int
    """Rows whose text was blank, which are left out."""
    excluded_documents: int
    read_documents: int | None = None
    """Rows of its files, including those left out. Unknown in older corpora, like the following counts."""
    repeated_documents: int | None = None
    """Documents, neither blank nor excluded, that repeat an earlier one of this or a previous source."""
    left_out_documents: int | None = None
    """Repeated documents that are left out: all if the recipe drops repeats, otherwise none."""
    validation_seen_documents: int | None = None
    """Validation documents that are also in the training split of any source."""
    sha256: dict[str, str]
    """Digest of every file of this source, by path in the folder."""


class Index(_Record):
    schema_version: Literal[1] = 1
    dtype: Literal["uint16", "uint32"]
    vocabulary: int
    special_tokens: SpecialTokens
    sequence_length: int
    shuffle_seed: int
    sources: dict[str, SourceIndex]
    """Sources in the recipe's order, which breaks ties in the mix."""

    @property
    def tokens(self) -> int:
        return sum(source.train_tokens + source.validation_tokens for source in self.sources.values())

    @property
    def counts(self) -> dict[str, int | None]:
        """Counts of rows over all sources, by what became of them; None if an older corpus lacks the count."""
        names = ("read", "blank", "excluded", "repeated", "left_out", "validation_seen")
        found = {name: [getattr(source, f"{name}_documents") for source in self.sources.values()] for name in names}
        return {name: complete_sum(values) for name, values in found.items()}

    @property
    def documents(self) -> int:
        return sum(source.train_documents + source.validation_documents for source in self.sources.values())


def token_dtype(vocabulary: int) -> Literal["uint16", "uint32"]:
    return "uint16" if vocabulary < 1 << 16 else "uint32"


def source_folder(folder: Path, split: Split, source: str) -> Path:
    return folder / split / source


def write_index(folder: Path, index: Index) -> None:
    write_atomic(folder / INDEX, index.model_dump_json(indent=2) + "\n")


def read_index(folder: Path) -> Index:
    """Read the index of a corpus. Raises NotReady if the folder is not a complete corpus."""
    path = folder / INDEX
    try:
        return Index.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotReady(f"{path}: missing; this is not the output of a finished prepare stage") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise NotReady(f"{path}: {where}: {problem['msg']}; prepare the corpus again") from error


def open_tokens(folder: Path, index: Index, split: Split, source: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (tokens, document offsets), memory-mapped. Raises NotReady if their sizes disagree with the index."""
    place = source_folder(folder, split, source)
    entry = index.sources[source]
    expected = entry.train_tokens if split == "train" else entry.validation_tokens
    try:
        tokens = np.memmap(place / TOKENS, dtype=index.dtype, mode="r")
        offsets = np.load(place / DOCUMENTS, mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise NotReady(f"{place}: cannot be mapped ({error}); prepare the corpus again") from error
    if len(tokens) != expected or offsets[-1] != expected:
        raise NotReady(
            f"{place}: {len(tokens):,} tokens, documents end at {int(offsets[-1]):,}, "
            f"the index says {expected:,}; prepare the corpus again"
        )
    # Plain views: slicing numpy's memmap class is ten times slower.
    return tokens.view(np.ndarray), offsets.view(np.ndarray)
