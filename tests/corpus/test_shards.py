from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from detour.corpus import buckets, shards
from detour.corpus.files import SourceError
from detour.corpus.layout import SPLITS, Index, SpecialTokens, Split, open_tokens, read_index
from detour.corpus.packing import PackedRows
from detour.corpus.reading import CorpusSpec, sampled_texts
from detour.corpus.shards import prepare_corpus
from detour.errors import Interrupted
from detour.files import sha256_file
from detour.ledger.attempt import Attempt
from tests.support.corpora import icd10_csv, icd10_labels, text_source

SPECIAL = SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4)
NOTES = [text for number in range(2) for text in icd10_labels()[5000 + number :: 40]]


@pytest.fixture
def spec(tmp_path: Path) -> CorpusSpec:
    """Labels of two chapters from the package's file, and those of another in two jsonl files with blank lines."""
    for number in range(2):
        lines = [*icd10_labels()[5000 + number :: 40], "", "  "]
        path = tmp_path / f"part{number}.jsonl"
        path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    sources = [
        text_source("labels", [icd10_csv()], 0.7, column="long", exclude={"code": "[^AB]"}),
        text_source("notes", [tmp_path / "part0.jsonl", tmp_path / "part1.jsonl"], 0.3),
        text_source("unused", [tmp_path / "never-read.jsonl"], 0.0),
    ]
    return CorpusSpec(sources, validation_tokens=4000, sequence_length=128, shuffle_seed=42)


def prepare(
    spec: CorpusSpec, tokenizer: Path, folder: Path, *, workers: int = 1, attempt: Attempt | None = None
) -> tuple[Index, float | None]:
    return prepare_corpus(
        spec, SPECIAL, 1024, tokenizer, folder / "work", folder / "output", workers, attempt or Attempt()
    )


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def stored_tokens(folder: Path, split: Split, source: str) -> list[bytes]:
    tokens, offsets = open_tokens(folder, read_index(folder), split, source)
    return [document.tobytes() for document in np.split(tokens, offsets[1:-1])]


def stored_texts(folder: Path, tokenizer: Path, source: str) -> list[str]:
    backend = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    texts = []
    for split in ("train", "validation"):
        tokens, offsets = open_tokens(folder, read_index(folder), split, source)
        for document in np.split(tokens, offsets[1:-1]):
            assert (document[0], document[-1]) == (SPECIAL.cls, SPECIAL.sep)
            texts.append(backend.decode(document[1:-1].tolist()))
    return texts


def test_every_document_is_stored_once(spec: CorpusSpec, tokenizer: Path, tmp_path: Path) -> None:
    index, tokens_per_s = prepare(spec, tokenizer, tmp_path)
    output = tmp_path / "output"
    assert read_index(output) == index
    assert list(index.sources) == ["labels", "notes"]
    for source in index.sources.values():
        assert source.sha256 == {name: sha256_file(output / name) for name in source.sha256}
    assert sorted(stored_texts(output, tokenizer, "notes")) == sorted(NOTES)
    labels = stored_texts(output, tokenizer, "labels")
    assert len(labels) == index.sources["labels"].train_documents + index.sources["labels"].validation_documents
    assert set(labels) <= set(icd10_labels())
    assert index.sources["notes"].blank_documents == 4
    assert index.sources["labels"].excluded_documents == 42_886 - len(labels)
    assert tokens_per_s is not None
    assert tokens_per_s > 0


@pytest.fixture
def twice(tmp_path: Path) -> CorpusSpec:
    """Two sources: the second repeats 50 documents of the first, each 10 of its own; one is blank, one excluded."""
    labels = [f"{label}, dossier {number}" for number, label in enumerate(icd10_labels()[:600])]
    first, second = labels[:300] + labels[:10], labels[250:600] + labels[400:410]
    for name, texts in (("first", first), ("second", [*second, " "])):
        rows = [{"text": text, "kind": "out" if text == labels[599] else "in"} for text in texts]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = [
        text_source(name, [tmp_path / f"{name}.jsonl"], exclude={"kind": "out"}, weight=0.5)
        for name in ("first", "second")
    ]
    return CorpusSpec(sources, validation_tokens=2048, sequence_length=128, shuffle_seed=42)


def test_the_outcome_of_every_row_is_counted(twice: CorpusSpec, tokenizer: Path, tmp_path: Path) -> None:
    index, _ = prepare(twice, tokenizer, tmp_path)
    second = index.sources["second"]
    assert second.read_documents == 361
    assert (second.blank_documents, second.excluded_documents) == (1, 1)
    assert second.train_documents + second.validation_documents == 359
    assert (index.sources["first"].repeated_documents, second.repeated_documents) == (10, 60)
    assert second.left_out_documents == 0


def test_validation_documents_that_are_also_in_training_are_counted(
    twice: CorpusSpec, tokenizer: Path, tmp_path: Path
) -> None:
    index, _ = prepare(twice, tokenizer, tmp_path)
    texts = {
        split: {name: stored_tokens(tmp_path / "output", split, name) for name in index.sources} for split in SPLITS
    }
    train = {text for documents in texts["train"].values() for text in documents}
    seen = {name: sum(text in train for text in documents) for name, documents in texts["validation"].items()}
    assert {name: source.validation_seen_documents for name, source in index.sources.items()} == seen
    assert sum(seen.values()) > 0


def test_repeats_are_dropped_if_the_recipe_says_so(twice: CorpusSpec, tokenizer: Path, tmp_path: Path) -> None:
    index, _ = prepare(replace(twice, drop_repeats=True), tokenizer, tmp_path)
    stored = [text for name in index.sources for text in stored_texts(tmp_path / "output", tokenizer, name)]
    assert len(stored) == len(set(stored)) == 599
    for source, dropped in zip(index.sources.values(), (10, 60), strict=True):
        assert (source.repeated_documents, source.left_out_documents) == (dropped, dropped)
        assert source.validation_seen_documents == 0


def test_a_long_document_does_not_move_the_whole_corpus_to_validation(tokenizer: Path, tmp_path: Path) -> None:
    lines = {"a": 40, "b": 40, "c": 4000}
    for name, count in lines.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"Ligne {n} du livre {name}.\n" for n in range(count)))
    paths = [tmp_path / f"{name}.txt" for name in lines]
    for seed in range(6):
        spec = CorpusSpec([text_source("books", paths)], 64, 32, seed)
        index, _ = prepare(spec, tokenizer, tmp_path / str(seed))
        assert index.sources["books"].validation_documents == 1
        assert index.sources["books"].validation_tokens < index.tokens / 50


def test_validation_follows_the_weights_and_is_disjoint_from_training(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path
) -> None:
    index, _ = prepare(spec, tokenizer, tmp_path)
    assert 2816 <= index.sources["labels"].validation_tokens < 2816 + 200
    assert 1152 <= index.sources["notes"].validation_tokens < 1152 + 200
    rows = PackedRows(tmp_path / "output", "validation", 128, 42)
    assert len(rows) == 22 + 9
    assert PackedRows(tmp_path / "output", "train", 128, 42).row(0).input_ids.shape == (128,)


def test_the_corpus_is_the_same_for_any_number_of_workers_and_buckets(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(spec, tokenizer, tmp_path / "a")
    monkeypatch.setattr(shards, "POOL_FROM_BYTES", 0)
    monkeypatch.setattr(buckets, "BUCKET_BYTES", 1 << 16)
    monkeypatch.setattr(buckets, "PENDING_BYTES", 1 << 14)
    prepare(spec, tokenizer, tmp_path / "b", workers=2)
    assert digests(tmp_path / "a" / "output") == digests(tmp_path / "b" / "output")


def test_another_seed_selects_other_validation_documents(spec: CorpusSpec, tokenizer: Path, tmp_path: Path) -> None:
    one, _ = prepare(spec, tokenizer, tmp_path / "a")
    other, _ = prepare(replace(spec, shuffle_seed=43), tokenizer, tmp_path / "b")
    names = [f"validation/{name}/tokens.bin" for name in one.sources]
    for name, source in zip(names, one.sources, strict=True):
        assert one.sources[source].sha256[name] != other.sources[source].sha256[name]


class StopsAfter(Attempt):
    """Asks to stop after this many reports of progress."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls
        self.shown: list[tuple[int, int, str, dict[str, Any]]] = []

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:
        self.shown.append((done, total, unit, figures))
        if len(self.shown) == self.calls:
            self.request_stop("signal SIGTERM")


def test_a_stop_keeps_finished_sources(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(spec, tokenizer, tmp_path / "uninterrupted")
    monkeypatch.setattr("detour.corpus.reading.BATCH_CHARACTERS", 2000)
    probe = StopsAfter(0)
    prepare(spec, tokenizer, tmp_path / "probe", attempt=probe)
    quarter = len(probe.shown) // 4
    halves = [quarter, len(probe.shown) - quarter - 2]
    for stop_at in halves:
        with pytest.raises(Interrupted, match="SIGTERM"):
            prepare(spec, tokenizer, tmp_path / "stopped", attempt=StopsAfter(stop_at))
    assert (tmp_path / "stopped/work/labels/entry.json").exists()
    last = StopsAfter(0)
    index, _ = prepare(spec, tokenizer, tmp_path / "stopped", attempt=last)
    assert last.shown[0][0] > icd10_csv().stat().st_size
    assert 0 < last.shown[-1][3]["documents"] < len(NOTES), "only the rest of the second source"
    assert list(index.sources) == ["labels", "notes"]
    assert digests(tmp_path / "stopped/output") == digests(tmp_path / "uninterrupted/output")


def test_a_finished_source_that_changed_on_disk_is_prepared_again(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(spec, tokenizer, tmp_path / "uninterrupted")

    def stopped(*_: object) -> None:
        raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_index", stopped)
        patch.setattr(Path, "rename", lambda *_: None)
        with pytest.raises(Interrupted):
            prepare(spec, tokenizer, tmp_path / "stopped")
    tokens = tmp_path / "stopped/work/labels/train/tokens.bin"
    content = tokens.read_bytes()
    tokens.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    prepare(spec, tokenizer, tmp_path / "stopped")
    assert digests(tmp_path / "stopped/output") == digests(tmp_path / "uninterrupted/output")


def test_a_preparation_stopped_repeatedly_tokenizes_every_document_once(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(spec, tokenizer, tmp_path / "uninterrupted")
    monkeypatch.setattr("detour.corpus.reading.BATCH_CHARACTERS", 2000)
    monkeypatch.setattr(shards, "COMMIT_EVERY_S", 0.0)
    attempts: list[StopsAfter] = []
    for calls in (7, 1, 12, 0):
        attempts.append(StopsAfter(calls))
        with suppress(Interrupted):
            prepare(spec, tokenizer, tmp_path / "stopped", attempt=attempts[-1])
    index = read_index(tmp_path / "stopped/output")
    assert sum(int(attempt.shown[-1][3]["documents"]) for attempt in attempts) == index.documents
    assert digests(tmp_path / "stopped/output") == digests(tmp_path / "uninterrupted/output")


def test_a_stop_while_writing_tokenizes_nothing_again(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(spec, tokenizer, tmp_path / "uninterrupted")
    monkeypatch.setattr(shards, "COMMIT_EVERY_S", 0.0)
    with monkeypatch.context() as patch:

        def cut_short(*_: object) -> None:
            raise Interrupted("stopped")

        patch.setattr(shards, "write_splits", cut_short)
        with pytest.raises(Interrupted):
            prepare(spec, tokenizer, tmp_path / "stopped")
    last = StopsAfter(0)
    prepare(spec, tokenizer, tmp_path / "stopped", attempt=last)
    assert last.shown[-1][3]["documents"] == len(NOTES)
    assert digests(tmp_path / "stopped/output") == digests(tmp_path / "uninterrupted/output")


def test_a_source_whose_files_were_lost_is_tokenized_again(spec: CorpusSpec, tokenizer: Path, tmp_path: Path) -> None:
    prepare(spec, tokenizer, tmp_path)
    first = digests(tmp_path / "output")
    (tmp_path / "output").rename(tmp_path / "lost")
    prepare(spec, tokenizer, tmp_path)
    assert digests(tmp_path / "output") == first


def test_progress_is_reported_in_bytes_of_the_files(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detour.corpus.reading.BATCH_CHARACTERS", 2000)
    attempt = StopsAfter(0)
    index, _ = prepare(spec, tokenizer, tmp_path, attempt=attempt)
    total = sum(source.size for source in spec.used)
    done = [shown[0] for shown in attempt.shown]
    assert done == sorted(done)
    assert done[-1] == total
    assert {(shown[1], shown[2]) for shown in attempt.shown} == {(total, "bytes")}
    assert attempt.shown[-1][3]["tokens"] == index.tokens
    assert attempt.shown[-1][3]["documents"] == index.documents


def test_the_last_message_states_the_outcome_of_all_rows(twice: CorpusSpec, tokenizer: Path, tmp_path: Path) -> None:
    attempt = StopsAfter(0)
    prepare(twice, tokenizer, tmp_path, attempt=attempt)
    shown = attempt.shown[-1][3]
    assert {name: shown[name] for name in ("read", "blank", "excluded", "repeated", "left_out")} == {
        "read": 671,
        "blank": 1,
        "excluded": 1,
        "repeated": 70,
        "left_out": 0,
    }


def test_too_little_text_is_an_error_with_the_figures(spec: CorpusSpec, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"source labels: too little text: .* validation takes 700,032 in whole documents"
    ):
        prepare(replace(spec, validation_tokens=1_000_000), tokenizer, tmp_path)


def test_a_source_without_text_is_an_error(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": null}\n')
    spec = CorpusSpec([text_source("blank", [tmp_path / "a.jsonl"])], 128, 128, 42)
    with pytest.raises(SourceError, match=r"0 tokens in 0 documents.* 2 documents were blank, 0 excluded"):
        prepare(spec, tokenizer, tmp_path)


def test_a_bad_line_stops_the_pool_of_workers(
    spec: CorpusSpec, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "POOL_FROM_BYTES", 0)
    with (tmp_path / "part1.jsonl").open("a") as file:
        file.write("{\n")
    with pytest.raises(SourceError, match=r"part1.jsonl: line 270: not JSON"):
        prepare(spec, tokenizer, tmp_path, workers=2)


def test_a_sample_is_drawn_by_weight_from_the_whole_corpus(spec: CorpusSpec) -> None:
    first, second = spec.sources[1].paths
    spec = replace(spec, sources=[text_source("first", [first], 0.7), text_source("second", [second], 0.3)])
    everything = list(sampled_texts(spec, None))
    half = len(everything) // 2
    sample = list(sampled_texts(spec, 200))
    assert len(sample) == 200
    places = [everything.index(text) for text in sample[:140]]
    assert places == sorted(places)
    assert {place * 10 // half for place in places} == set(range(10))
    assert set(sample[140:]) <= set(everything[half:])
    assert list(sampled_texts(spec, 200)) == sample
    assert list(sampled_texts(spec, 10**6)) == everything
