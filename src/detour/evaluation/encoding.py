"""Encode the documents of a classification task as token ids and truth matrices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig

from detour.corpus.tokenizer import load_tokenizer
from detour.evaluation.metrics import Matrix
from detour.tasks.document import SPLITS, Document
from detour.tasks.loading import TaskDocuments


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    token_ids: list[list[int]]
    """With special tokens, truncated to the task's length."""
    truth: Matrix
    """(documents, labels)"""
    names: list[str]
    """Names of the documents in their data set; empty if they have none."""
    cut: int = 0
    """Number of truncated documents."""

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.token_ids]


@dataclass(frozen=True, slots=True)
class EncodedTask:
    labels: tuple[str, ...]
    train: EncodedSplit
    validation: EncodedSplit
    test: EncodedSplit
    padding_id: int
    max_length: int
    """In tokens: the minimum of the task's limit and those of the encoder and its tokenizer."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the score should know about the encoding."""
        cut = ((name, getattr(self, name).cut) for name in SPLITS)
        numbers = [f"{name} {number:,}" for name, number in cut if number]
        beyond = f"documents longer than {self.max_length:,} tokens, of which the beginning is read"
        return [f"{beyond}: {', '.join(numbers)}"] if numbers else []


def reader_of(model_folder: Path, max_length: int) -> tuple[Any, int]:
    """The tokenizer of an encoder, and the number of tokens that both read at once, at most `max_length`."""
    tokenizer = load_tokenizer(str(model_folder))
    positions = AutoConfig.from_pretrained(model_folder).max_position_embeddings
    return tokenizer, min(max_length, positions, tokenizer.model_max_length)


def encode_task(documents: TaskDocuments, model_folder: Path, max_length: int) -> EncodedTask:
    tokenizer, max_length = reader_of(model_folder, max_length)
    labels = documents.labels

    def encode(split: Sequence[Document]) -> EncodedSplit:
        texts = [document.text for document in split]
        pieces = tokenizer(texts, truncation=True, max_length=max_length, return_overflowing_tokens=True)
        documents = pieces["overflow_to_sample_mapping"]
        first = dict(zip(reversed(documents), reversed(pieces["input_ids"]), strict=True))
        return EncodedSplit(
            token_ids=[first[number] for number in range(len(texts))],
            truth=np.array([[label in document.labels for label in labels] for document in split]),
            names=[document.name for document in split],
            cut=sum(number > 1 for number in Counter(documents).values()),
        )

    return EncodedTask(
        labels=labels,
        train=encode(documents.train),
        validation=encode(documents.validation),
        test=encode(documents.test),
        padding_id=tokenizer.pad_token_id,
        max_length=max_length,
    )
