"""Build a corpus on disk from text files: each source is read, tokenised, shuffled, divided and indexed in turn.

    files -> texts -> tokens -> buckets -> validation and training documents in shuffled order -> index

The result depends on the texts, the tokenizer and the shuffle seed, not on the number of workers. Finished sources and
the tokens of an unfinished one stay in the work folder. An interrupted preparation reads the text again, which is fast,
and tokenises only the rest.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detour.corpus.buckets import Buckets, Documents
from detour.corpus.encoding import Encode, encoding_pool
from detour.corpus.files import SourceError
from detour.corpus.layout import SPLITS, Index, SourceIndex, SpecialTokens, Split, token_dtype, write_index
from detour.corpus.order import order_key
from detour.corpus.reading import CorpusSpec, SourceReader, TextSource
from detour.corpus.repeats import Digests, mapped, outline, repeated, seen, write_chosen
from detour.corpus.writing import WrittenSplit, set_aside, validation_share, write_splits
from detour.errors import Interrupted
from detour.files import fsync_directory, sha256_file, write_atomic
from detour.ledger.attempt import Attempt

BYTES_PER_TOKEN = 3
POOL_FROM_BYTES = 8 << 20
"""Minimum size of text for a pool of workers; less is tokenised faster than workers start."""
COMMIT_EVERY_S = 60.0
ENTRY = "entry.json"


@dataclass(slots=True)
class _Meter:
    """Counts and reports the progress of this attempt."""

    attempt: Attempt
    total_bytes: int
    done_bytes: int = 0
    tokens: int = 0
    documents: int = 0
    started_s: float = field(default_factory=time.perf_counter)

    def count(self, documents: Documents, position: int) -> None:
        self.tokens += documents.tokens.size
        self.documents += documents.lengths.size
        self.tell(position)

    def tell(self, position: int = 0, /, **counts: float | None) -> None:
        self.attempt.progress(
            self.done_bytes + position,
            self.total_bytes,
            "bytes",
            documents=self.documents,
            tokens=self.tokens,
            tokens_per_s=self.tokens_per_s,
            **counts,
        )

    @property
    def tokens_per_s(self) -> float | None:
        """Speed of reading, tokenising and writing together; None if this attempt tokenised nothing."""
        return self.tokens / (time.perf_counter() - self.started_s) if self.tokens else None

    def check_stop(self) -> None:
        if reason := self.attempt.stop_reason:
            raise Interrupted(f"stopped ({reason}); what was tokenised is kept")


def prepare_corpus(
    spec: CorpusSpec,
    special: SpecialTokens,
    vocabulary: int,
    tokenizer_folder: Path,
    work_dir: Path,
    output_dir: Path,
    workers: int,
    attempt: Attempt,
) -> tuple[Index, float | None]:
    """Write all sources and the index to `output_dir`; return (index, tokens per second of this attempt).

    `tokenizer_folder` may be inside `output_dir`. Raises SourceError for text that cannot be used, Interrupted if the
    attempt must stop.
    """
    dtype = token_dtype(vocabulary)
    meter = _Meter(attempt, sum(source.size for source in spec.used))
    if sum(source.text_bytes for source in spec.used) < POOL_FROM_BYTES:
        workers = 1
    entries: dict[str, SourceIndex] = {}
    folders = {source.name: work_dir / source.name for source in spec.used}
    with encoding_pool(tokenizer_folder, special, dtype, workers) as encode:
        for source in spec.used:
            folder = folders[source.name]
            earlier = [_digests(folders[name], split) for name in entries for split in SPLITS]
            entries[source.name] = _finished(folder) or _prepare_source(
                spec, source, folder, dtype, encode, meter, earlier
            )
            meter.done_bytes += source.size
    index = Index(
        dtype=dtype,
        vocabulary=vocabulary,
        special_tokens=special,
        sequence_length=spec.sequence_length,
        shuffle_seed=spec.shuffle_seed,
        sources=_with_seen(entries, folders),
    )
    for name, folder in folders.items():
        for split in SPLITS:
            (output_dir / split).mkdir(parents=True, exist_ok=True)
            (folder / split).rename(output_dir / split / name)
    write_index(output_dir, index)
    meter.tell(**index.counts)
    return index, meter.tokens_per_s


def _with_seen(entries: Mapping[str, SourceIndex], folders: Mapping[str, Path]) -> dict[str, SourceIndex]:
    """Add to each source the number of its validation documents that are in the training split of any source."""
    train = [_digests(folder, "train") for folder in folders.values()]
    in_training = {name: seen(_digests(folders[name], "validation"), train) for name in entries}
    return {
        name: entry.model_copy(update={"validation_seen_documents": in_training[name]})
        for name, entry in entries.items()
    }


def _finished(folder: Path) -> SourceIndex | None:
    """Return a source that an earlier attempt completed; None if its files have been moved or damaged since."""
    entry = folder / ENTRY
    needed = [folder / split for split in SPLITS] + [folder / _digest_file(split) for split in SPLITS]
    if not entry.is_file() or not all(path.exists() for path in needed):
        return None
    found = SourceIndex.model_validate_json(entry.read_bytes())
    for listed, digest in found.sha256.items():
        path = folder / Path(listed).parts[0] / Path(listed).name
        if not path.is_file() or sha256_file(path) != digest:
            return None
    return found


def _prepare_source(
    spec: CorpusSpec,
    source: TextSource,
    folder: Path,
    dtype: str,
    encode: Encode,
    meter: _Meter,
    earlier: Sequence[Digests],
) -> SourceIndex:
    """Prepare one source; `earlier` are the digests of the documents of previous sources."""
    if (folder / ENTRY).exists():  # of a source whose files have been moved and lost, or damaged
        shutil.rmtree(folder)
    read = SourceReader(source)
    key = order_key(spec.shuffle_seed, source.name)
    buckets = Buckets(folder / "buckets", key, dtype, source.text_bytes // BYTES_PER_TOKEN)
    passed_over = _scatter(read, buckets, encode, meter)
    wanted = validation_share(spec.validation_tokens, spec.share(source), spec.sequence_length)
    for split in SPLITS:
        shutil.rmtree(folder / split, ignore_errors=True)
    found = outline(_stoppable(buckets.shuffled(), meter), folder)
    again = repeated(found.digests, earlier)
    kept = ~again if spec.drop_repeats else np.ones_like(again)
    aside = set_aside(np.where(kept, found.lengths, 0) if spec.drop_repeats else found.lengths, wanted)
    written = write_splits(folder, _stoppable(buckets.shuffled(), meter), aside, kept)
    entry = _entry(source, written, passed_over, again, kept)
    _require_a_row(source.name, entry, wanted, spec.sequence_length)
    for split, chosen in (("train", ~aside & kept), ("validation", aside & kept)):
        write_chosen(folder / _digest_file(split), found.digests, chosen)
    fsync_directory(folder)
    write_atomic(folder / ENTRY, entry.model_dump_json())
    buckets.remove()
    return entry


def _entry(
    source: TextSource,
    written: Mapping[Split, WrittenSplit],
    passed_over: Mapping[str, int],
    again: NDArray[np.bool_],
    kept: NDArray[np.bool_],
) -> SourceIndex:
    """Return the index entry; `again` and `kept` have a value for each document that is neither blank nor excluded."""
    train, validation = written["train"], written["validation"]
    return SourceIndex(
        weight=source.weight,
        train_tokens=train.tokens,
        train_documents=train.documents,
        validation_tokens=validation.tokens,
        validation_documents=validation.documents,
        blank_documents=passed_over["blank"],
        excluded_documents=passed_over["excluded"],
        read_documents=len(again) + passed_over["blank"] + passed_over["excluded"],
        repeated_documents=int(again.sum()),
        left_out_documents=int((~kept).sum()),
        sha256={f"{s}/{source.name}/{name}": digest for s, w in written.items() for name, digest in w.sha256.items()},
    )


def _require_a_row(name: str, entry: SourceIndex, validation_tokens: int, sequence_length: int) -> None:
    if entry.train_tokens < sequence_length:
        raise SourceError(
            f"source {name}: too little text: {entry.train_tokens + entry.validation_tokens:,} tokens in "
            f"{entry.train_documents + entry.validation_documents:,} documents, of which validation takes "
            f"{validation_tokens:,} in whole documents and a training row {sequence_length:,}; "
            f"{entry.blank_documents:,} documents were blank, {entry.excluded_documents:,} excluded, "
            f"{entry.left_out_documents:,} left out as repeats"
        )


def _digest_file(split: str) -> str:
    return f"{split}-digests.bin"


def _digests(folder: Path, split: Split) -> Digests:
    return mapped(folder / _digest_file(split), "<u8")


def _scatter(read: SourceReader, buckets: Buckets, encode: Encode, meter: _Meter) -> Mapping[str, int]:
    """Tokenise what earlier attempts have not, and return how many documents were `blank` and `excluded`.

    A stop loses what is in flight in the workers, a kill up to COMMIT_EVERY_S of work.
    """
    if buckets.final is not None:
        return buckets.final
    _pass_over(read, buckets.documents, meter)
    committed_s = time.perf_counter()
    for batch in encode(read.batches()):
        buckets.add(batch.documents)
        meter.count(batch.documents, batch.position)
        if meter.attempt.stop_reason or time.perf_counter() - committed_s > COMMIT_EVERY_S:
            buckets.commit()
            meter.check_stop()
            committed_s = time.perf_counter()
    passed_over = {"blank": read.blank, "excluded": read.excluded}
    if buckets.is_committed:
        buckets.commit(passed_over)
    return passed_over


def _pass_over(read: SourceReader, documents: int, meter: _Meter) -> None:
    """Skip the documents that earlier attempts tokenised."""
    found = 0
    for _ in islice(read.texts(), documents):
        meter.check_stop()
        found += 1
    if found < documents:
        raise SourceError(
            f"source {read.source.name}: {found:,} documents, an earlier attempt read {documents:,}: "
            "its files have changed; plan the chain again"
        )


def _stoppable(documents: Iterable[Documents], meter: _Meter) -> Iterator[Documents]:
    for run in documents:
        meter.check_stop()
        yield run
