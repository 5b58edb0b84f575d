"""How fast a corpus is prepared and read, compared with the minimum possible, in the same run.

    python -m tests.benchmarks.corpus [--megabytes 40] [--workers N] [--json]

Text: French ICD-10 labels, thirty per document, as jsonl.gz. `bare` is one loop over `encode_batch` of the tokenizers
library on texts that are already in memory; `prepare` reads, tokenises, shuffles, writes and indexes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from detour.corpus.layout import SpecialTokens, open_tokens, read_index
from detour.corpus.packing import PackedRows
from detour.corpus.reading import CorpusSpec, SourceReader
from detour.corpus.shards import prepare_corpus
from detour.corpus.tokenizer import train_tokenizer
from detour.ledger.attempt import Attempt
from tests.support.corpora import icd10_labels, text_source

SPECIAL = SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4)
VOCABULARY = 4096
LABELS_A_DOCUMENT = 30
PEAK = """
import sys
from pathlib import Path
from tests.benchmarks.corpus import prepare
prepare(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])
"""


def documents(megabytes: float) -> list[str]:
    """Labels in a new order for every document, so that no two are alike."""
    labels = np.array(icd10_labels(), dtype=object)
    draw = np.random.default_rng(0)
    found: list[str] = []
    size = 0
    while size < megabytes * 1e6:
        found.append(". ".join(draw.choice(labels, LABELS_A_DOCUMENT)))
        size += len(found[-1].encode())
    return found


def write(path: Path, texts: list[str]) -> None:
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)


def prepare(text: Path, tokenizer: Path, folder: Path, workers: int) -> float:
    """Tokens per second."""
    spec = CorpusSpec([text_source("labels", [text])], 100_000, 1024, 42)
    start = time.perf_counter()
    index, _ = prepare_corpus(
        spec, SPECIAL, VOCABULARY, tokenizer, folder / "work", folder / "output", workers, Attempt()
    )
    return index.tokens / (time.perf_counter() - start)


def bare(texts: list[str], tokenizer: Path, *, parallel: bool) -> float:
    os.environ["TOKENIZERS_PARALLELISM"] = str(parallel).lower()
    backend = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    tokens = 0
    start = time.perf_counter()
    for first in range(0, len(texts), 256):
        tokens += sum(len(encoding.ids) for encoding in backend.encode_batch(texts[first : first + 256]))
    return tokens / (time.perf_counter() - start)


def reading(text: Path) -> float:
    """Megabytes of text per second, without tokenising."""
    start = time.perf_counter()
    size = sum(
        len(one.encode()) for batch in SourceReader(text_source("labels", [text])).batches() for one in batch.texts
    )
    return size / 1e6 / (time.perf_counter() - start)


def peak_megabytes(text: Path, tokenizer: Path, folder: Path, workers: int) -> float:
    command = [sys.executable, "-c", PEAK, str(text), str(tokenizer), str(folder), str(workers)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1000


def rows_per_s(take: Callable[[int], object], rows: int = 2000) -> float:
    start = time.perf_counter()
    for i in range(rows):
        take(i)
    return rows / (time.perf_counter() - start)


def packing(folder: Path, sequence_length: int) -> dict[str, float]:
    """Rows per second: packed, and as bare slices of the memory-mapped tokens converted to 64 bits."""
    rows = PackedRows(folder, "train", sequence_length, 42)
    tokens, _ = open_tokens(folder, read_index(folder), "train", "labels")
    count = len(tokens) // sequence_length

    def bare_slice(i: int) -> object:
        start = (i * 7919 % count) * sequence_length
        return tokens[start : start + sequence_length].astype(np.int64)

    rows_per_s(rows.row, 200)
    return {
        f"rows_per_s_packed_{sequence_length}": rows_per_s(rows.row),
        f"rows_per_s_bare_slice_{sequence_length}": rows_per_s(bare_slice),
    }


def measure(folder: Path, megabytes: float, workers: int) -> dict[str, float]:
    texts = documents(megabytes)
    text, few = folder / "all.jsonl.gz", folder / "few.jsonl.gz"
    write(text, texts)
    write(few, texts[: len(texts) // 4])
    tokenizer = folder / "tokenizer"
    train_tokenizer(icd10_labels(), VOCABULARY, 1024).save_pretrained(tokenizer)
    figures = {
        "documents": len(texts),
        "megabytes": megabytes,
        "workers": workers,
        "reading_mb_per_s": reading(text),
        "bare_one_core_tokens_per_s": bare(texts, tokenizer, parallel=False),
        "prepare_one_worker_tokens_per_s": prepare(text, tokenizer, folder / "one", 1),
        "bare_all_cores_tokens_per_s": bare(texts, tokenizer, parallel=True),
        "prepare_tokens_per_s": prepare(text, tokenizer, folder / "several", workers),
        "peak_mb_quarter": peak_megabytes(few, tokenizer, folder / "quarter", workers),
        "peak_mb_whole": peak_megabytes(text, tokenizer, folder / "whole", workers),
    }
    for sequence_length in (512, 8192):
        figures |= packing(folder / "one" / "output", sequence_length)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=40)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.megabytes, options.workers)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, figure in figures.items():
            print(f"{name:36}{figure:16,.0f}")


if __name__ == "__main__":
    main()
