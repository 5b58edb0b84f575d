"""Small real corpora, prepared in about a second: the French ICD-10 labels that edsnlp ships."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from detour.config.models import Source
from detour.corpus.buckets import Documents
from detour.corpus.layout import Index, SourceIndex, SpecialTokens, source_folder, token_dtype, write_index
from detour.corpus.order import order_key, shuffled
from detour.corpus.reading import TextSource
from detour.corpus.writing import set_aside, write_splits

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "<mask>"}


def text_source(name: str, paths: Sequence[Path], weight: float = 1.0, **more: Any) -> TextSource:
    return TextSource(Source(name=name, path="", weight=weight, **more), paths)


def icd10_csv() -> Path:
    """Columns code, type, ssr, psy, short, long; 42,886 rows."""
    spec = importlib.util.find_spec("edsnlp")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "resources" / "cim10.csv.gz"


@cache
def icd10_labels() -> tuple[str, ...]:
    """The long labels, without the templated chapters on external causes (V to Y, and U)."""
    with gzip.open(icd10_csv(), "rt", encoding="utf-8", newline="") as file:
        return tuple(row["long"] for row in csv.DictReader(file) if row["code"][0] not in "UVWXY")


@cache
def small_tokenizer(vocabulary: int = 1024) -> Tokenizer:
    """A byte-level BPE learnt from 3,000 labels."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(icd10_labels()[::5], trainer)
    ids = {role: tokenizer.token_to_id(token) for role, token in SPECIAL_TOKENS.items()}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["cls"]), ("[SEP]", ids["sep"])]
    )
    return tokenizer


def tokenise(texts: Iterable[str], vocabulary: int = 1024) -> Documents:
    encoded = [encoding.ids for encoding in small_tokenizer(vocabulary).encode_batch(list(texts))]
    return Documents(
        np.concatenate([np.array(ids, dtype=np.uint16) for ids in encoded]), np.array(list(map(len, encoded)))
    )


def make_corpus(
    folder: Path,
    *,
    weights: dict[str, float] | None = None,
    documents: int = 2000,
    sequence_length: int = 128,
    validation_tokens: int = 1024,
    shuffle_seed: int = 42,
    vocabulary: int = 1024,
) -> Path:
    """A prepared corpus in `folder`, laid out as by the prepare stage; each source has its own labels.

    Its tokenizer has [PAD] [UNK] [CLS] [SEP] <mask> as ids 0 to 4.
    """
    weights = weights or {"icd10": 1.0}
    total = sum(weights.values())
    sources = {}
    for number, (name, weight) in enumerate(weights.items()):
        labels = icd10_labels()[number :: len(weights)]
        chosen = shuffled(len(labels), order_key(shuffle_seed, name))[:documents]
        tokens = [tokenise([labels[i] for i in chosen], vocabulary)]
        wanted = max(int(validation_tokens * weight / total), sequence_length)
        written = write_splits(folder / name, tokens, set_aside(tokens[0].lengths, wanted))
        for split in written:
            destination = source_folder(folder, split, name)
            destination.parent.mkdir(exist_ok=True, parents=True)
            (folder / name / split).rename(destination)
        (folder / name).rmdir()
        sources[name] = SourceIndex(
            weight=weight,
            train_tokens=written["train"].tokens,
            train_documents=written["train"].documents,
            validation_tokens=written["validation"].tokens,
            validation_documents=written["validation"].documents,
            blank_documents=0,
            excluded_documents=0,
            sha256={f"{s}/{name}/{file}": d for s, w in written.items() for file, d in w.sha256.items()},
        )
    _save_tokenizer(folder / "tokenizer", vocabulary)
    size = small_tokenizer(vocabulary).get_vocab_size()
    index = Index(
        dtype=token_dtype(size),
        vocabulary=size,
        special_tokens=SpecialTokens(**{r: i for i, r in enumerate(SPECIAL_TOKENS)}),
        sequence_length=sequence_length,
        shuffle_seed=shuffle_seed,
        sources=sources,
    )
    write_index(folder, index)
    return folder


def _save_tokenizer(folder: Path, vocabulary: int) -> None:
    from transformers import PreTrainedTokenizerFast

    named = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    PreTrainedTokenizerFast(tokenizer_object=small_tokenizer(vocabulary), **named).save_pretrained(folder)
