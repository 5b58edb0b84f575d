"""Read the text of a corpus: its sources, their documents in batches, and a sample of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detour.config.models import Source
from detour.corpus.encoding import BATCH_CHARACTERS, Batch
from detour.corpus.files import COMPRESSION_OF_SUFFIX
from detour.corpus.order import order_key, scattered
from detour.corpus.sources import Table, read_texts, table_of

COMPRESSION = 6
"""Approximate ratio of text to compressed size, for sizing the buckets and the pool."""
COMPRESSED = {*COMPRESSION_OF_SUFFIX, ".parquet"}


@dataclass(frozen=True, slots=True)
class TextSource:
    """One source of a recipe, with its files resolved."""

    entry: Source
    paths: Sequence[Path]

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def weight(self) -> float:
        return self.entry.weight

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.paths)

    @property
    def text_bytes(self) -> int:
        """Estimated size of the text."""
        return sum(path.stat().st_size * (COMPRESSION if path.suffix in COMPRESSED else 1) for path in self.paths)

    def tables(self) -> Iterator[Table]:
        return (table_of(self.entry, path, [self.entry.column]) for path in self.paths)


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """What a corpus is made of, apart from its tokenizer."""

    sources: Sequence[TextSource]
    """The sources; those of weight 0 are not used."""
    validation_tokens: int
    sequence_length: int
    shuffle_seed: int
    drop_repeats: bool = False

    @property
    def used(self) -> list[TextSource]:
        return [source for source in self.sources if source.weight > 0]

    def share(self, source: TextSource) -> float:
        return source.weight / sum(other.weight for other in self.used)


class SourceReader:
    """Iterates over the documents of one source, once, counting those that are skipped."""

    def __init__(self, source: TextSource) -> None:
        self.source = source
        self.blank = 0
        self.excluded = 0
        self.position = 0
        """Bytes of the source's files read so far."""
        self._texts = self._read()

    def texts(self) -> Iterator[str]:
        """Return the remaining documents, without blank ones."""
        return self._texts

    def _read(self) -> Iterator[str]:
        done_bytes = 0
        for table in self.source.tables():
            for text in read_texts(table):
                if text and not text.isspace():
                    self.position = done_bytes + table.position
                    yield text
                else:
                    self.blank += 1
            self.excluded += table.excluded
            done_bytes += table.position
        self.position = done_bytes

    def batches(self) -> Iterator[Batch]:
        texts: list[str] = []
        characters = 0
        for text in self.texts():
            texts.append(text)
            characters += len(text)
            if characters >= BATCH_CHARACTERS:
                yield Batch(texts, self.position)
                texts, characters = [], 0
        if texts:
            yield Batch(texts, self.position)


def sampled_texts(spec: CorpusSpec, documents: int | None) -> Iterator[str]:
    """Yield about `documents` documents, from each source in proportion to its weight, in file order; None for all.

    The draw is by the hash of the document's number, as for the shuffle. The files are read twice, first to count.
    """
    for source in spec.used:
        if documents is None:
            yield from SourceReader(source).texts()
            continue
        count = sum(1 for _ in SourceReader(source).texts())
        chosen = _chosen(
            count, round(documents * spec.share(source)), order_key(spec.shuffle_seed, source.name, "sample")
        )
        for text, is_chosen in zip(SourceReader(source).texts(), chosen, strict=True):
            if is_chosen:
                yield text


def _chosen(count: int, wanted: int, key: int) -> NDArray[np.bool_]:
    """Return a (count,) array that is true for the `wanted` numbers with the smallest hashes."""
    if wanted >= count:
        return np.ones(count, dtype=np.bool_)
    hashes = scattered(np.arange(count, dtype=np.uint64), key)
    smallest: NDArray[np.bool_] = hashes < np.partition(hashes, wanted)[wanted]
    return smallest
