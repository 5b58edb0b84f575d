"""The corpus of a recipe and its tokenizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from detour.config.fields import Count, File, Filled, Name, NotNegative, Pattern, Separator, Written, added, repeated
from detour.config.problems import Inconsistent

SMALLEST_VOCABULARY = 256 + 5
"""All bytes, and the special tokens."""


class Source(File):
    """One text corpus. Rows come from jsonl, parquet, csv columns or plain text (one document a file)."""

    name: Name
    """Names the source in overrides, messages and the corpus."""
    format: Literal["auto", "jsonl", "parquet", "csv", "text"] = "auto"
    """`auto` goes by the file name; `.gz` and `.zst` are unpacked by what the file starts with."""
    column: Filled = "text"
    """Column or JSON field that holds the document."""
    separator: Separator = ","
    """Between the fields of a CSV file."""
    quoting: Literal["auto", "double", "none"] = added("auto")
    """CSV: `double` marks enclose a field and are doubled inside it, `none` takes them as they are; `auto` is `none`
    for files named `.tsv`."""
    exclude: dict[str, Pattern] = Field(default={})
    """Column -> regular expression; rows that match (at the start) are left out."""
    weight: NotNegative = 1.0
    """Share of this source in the mix, relative to the sum of all weights."""


def _holds_every_byte(vocabulary: int) -> int:
    if vocabulary < SMALLEST_VOCABULARY:
        raise ValueError(f"{vocabulary} is too small: bytes and special tokens alone are {SMALLEST_VOCABULARY}")
    return vocabulary


class TokenizerTraining(Written):
    """A byte-level BPE learnt from the recipe's own sources."""

    vocabulary: Annotated[Count, AfterValidator(_holds_every_byte)]
    """Tokens, the five special ones and the 256 bytes included."""
    documents: Count | None = None
    """Documents read for training, None for all."""


class Tokenizer(Written):
    pretrained: Filled | None = None
    """Hub id or local folder; defaults to the model's."""
    revision: Filled | None = None
    """Branch, tag or commit on the hub."""
    train: TokenizerTraining | None = None
    """Learn one instead; needed where the model starts from random weights."""

    @model_validator(mode="after")
    def _one_origin(self) -> Tokenizer:
        if self.pretrained and self.train:
            raise ValueError("give either `pretrained` or `train`, not both")
        return self


class Data(Written):
    sources: tuple[Source, ...] = Field(min_length=1)
    """The corpora; rows are mixed by their weights, each corpus in a shuffled order of its documents."""
    sequence_length: Count
    """Tokens a packed row; documents longer than this are cut into several."""
    validation_tokens: Count
    """Tokens set aside, from whole documents, before anything is trained on."""
    repeats: Literal["keep", "drop"] = added("keep")
    """`drop`: of documents that are equal to the tokenizer, in all sources, only the first one is used."""

    @model_validator(mode="after")
    def _mix_is_possible(self) -> Data:
        problems = repeated("sources", [source.name for source in self.sources])
        if sum(source.weight for source in self.sources) <= 0:
            message = "the weights of all sources sum to 0: give at least one a positive weight"
            problems.append((("sources",), message))
        if problems:
            raise Inconsistent(problems)
        return self
