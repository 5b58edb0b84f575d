"""The corpus of a recipe and its tokenizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from detour.config.fields import Count, File, Filled, Name, NotNegative, Pattern, Separator, Written, added, repeated
from detour.config.problems import Inconsistent

SMALLEST_VOCABULARY = 256 + 5
"""All bytes and the special tokens."""


class Source(File):
    """One text corpus: jsonl, parquet or csv rows, or plain text (one document per file)."""

    name: Name
    """Name of the source in overrides, messages and the corpus."""
    format: Literal["auto", "jsonl", "parquet", "csv", "text"] = "auto"
    """`auto` decides by the file name; gzip and Zstandard files are recognized by their first bytes."""
    column: Filled = "text"
    """Column or JSON field that holds the document."""
    separator: Separator = ","
    """Field separator of a CSV file."""
    quoting: Literal["auto", "double", "none"] = added("auto")
    """CSV only. `double`: double quotes may enclose a field and are doubled inside it; `none`: quotes are ordinary
    characters; `auto`: `none` for files named `.tsv`, otherwise `double`."""
    exclude: dict[str, Pattern] = Field(default={})
    """Column -> regular expression; rows whose value matches at its start are left out."""
    weight: NotNegative = 1.0
    """Share of this source in the mix, relative to the sum of all weights."""


def _holds_every_byte(vocabulary: int) -> int:
    if vocabulary < SMALLEST_VOCABULARY:
        raise ValueError(f"{vocabulary} is too small: bytes and special tokens already are {SMALLEST_VOCABULARY}")
    return vocabulary


class TokenizerTraining(Written):
    """A byte-level BPE trained on the recipe's own sources."""

    vocabulary: Annotated[Count, AfterValidator(_holds_every_byte)]
    """Number of tokens, including the five special ones and the 256 bytes."""
    documents: Count | None = None
    """Number of documents to train on, None for all."""


class Tokenizer(Written):
    pretrained: Filled | None = None
    """Hub id or local folder; defaults to the model's."""
    revision: Filled | None = None
    """Branch, tag or commit on the hub."""
    train: TokenizerTraining | None = None
    """Train a tokenizer instead. A model with random weights needs this or `pretrained`."""

    @model_validator(mode="after")
    def _one_origin(self) -> Tokenizer:
        if self.pretrained and self.train:
            raise ValueError("give either `pretrained` or `train`, not both")
        return self


class Data(Written):
    sources: tuple[Source, ...] = Field(min_length=1)
    """The corpora; rows are mixed by weight, and the documents of each corpus are shuffled."""
    sequence_length: Count
    """Tokens per packed row; longer documents are cut into several."""
    validation_tokens: Count
    """Tokens held out for validation, in whole documents."""
    repeats: Literal["keep", "drop"] = added("keep")
    """`drop`: use only the first of several documents that the tokenizer cannot tell apart, across all sources."""

    @model_validator(mode="after")
    def _mix_is_possible(self) -> Data:
        problems = repeated("sources", [source.name for source in self.sources])
        if sum(source.weight for source in self.sources) <= 0:
            message = "the weights of all sources sum to 0: give at least one a positive weight"
            problems.append((("sources",), message))
        if problems:
            raise Inconsistent(problems)
        return self
