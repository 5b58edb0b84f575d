"""Peaks of memory, each in its own process: the corpus grows sixfold, the peak does not."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

from tests.support.corpora import icd10_labels

STORE = """
import sys
import numpy as np
from pathlib import Path
from detour.corpus import buckets, repeats
from detour.corpus.buckets import Buckets, Documents
from detour.corpus.repeats import outline, repeated
from detour.corpus.writing import set_aside, write_splits

buckets.BUCKET_BYTES = buckets.PENDING_BYTES = 1 << 20
repeats.PART_DOCUMENTS = 1 << 14
folder, tokens = Path(sys.argv[1]), int(sys.argv[2])
store = Buckets(folder / "buckets", 1, "uint16", tokens)
lengths = np.full(1000, 64)
for start in range(0, tokens, 64_000):
    store.add(Documents(np.arange(start, start + 64_000, dtype=np.uint32).astype(np.uint16), lengths))
found = outline(store.shuffled(), folder)
assert repeated(found.digests).any()
written = write_splits(folder, store.shuffled(), set_aside(found.lengths, 100_000))
assert sum(split.tokens for split in written.values()) == -(-tokens // 64_000) * 64_000
"""

READ = """
import sys
from pathlib import Path
from detour.config.models import Source
from detour.corpus.reading import SourceReader, TextSource

reader = SourceReader(TextSource(Source(name="labels", path=sys.argv[1]), [Path(sys.argv[1])]))
assert sum(len(batch.texts) for batch in reader.batches()) == 15_680 * int(sys.argv[2])
"""

# Not ru_maxrss: a child starts with its parent's.
PEAK = """
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])
"""


def peak_bytes(script: str, *arguments: object) -> int:
    command = [sys.executable, "-c", script + PEAK, *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1024


def test_shuffling_and_writing_hold_one_bucket_and_a_few_bytes_a_document(tmp_path: Path) -> None:
    tokens = (5_000_000, 30_000_000)
    small, large = (peak_bytes(STORE, tmp_path / str(count), count) for count in tokens)
    documents = (tokens[1] - tokens[0]) / 64
    assert large - small < (tokens[1] - tokens[0]) * 2 / 10 + 12 * documents


def test_reading_holds_one_batch_at_a_time(tmp_path: Path) -> None:
    lines = gzip.compress("".join(json.dumps({"text": label}) + "\n" for label in icd10_labels()).encode())
    peaks = []
    for copies in (3, 18):
        path = tmp_path / f"{copies}.jsonl.gz"
        path.write_bytes(lines * copies)
        peaks.append(peak_bytes(READ, path, copies))
    text_bytes = sum(map(len, icd10_labels()))
    assert peaks[1] - peaks[0] < text_bytes * 15 / 3
