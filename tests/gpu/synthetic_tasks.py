"""Tasks of random tokens with realistic lengths, and encoders with random weights; neither affects speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from transformers import AutoModel, ModernBertConfig

from detour.config.models import Task
from detour.evaluation.classification import Classification
from detour.evaluation.classifier import EncoderClassifier
from detour.evaluation.encoding import EncodedSplit, EncodedTask
from detour.evaluation.ner import EntityRecognition
from detour.evaluation.ner_encoding import EncodedEntities, EncodedNer, Reach
from detour.evaluation.ner_heads import EncoderTagger
from detour.evaluation.windows import Window
from detour.tasks.document import Document

ShapeName = Literal["cases", "notes", "windows", "titles"]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FIRST_WORD_ID, PADDING_ID = 5, 0
LABELS = tuple(f"label {number}" for number in range(30))
TRAIN, HELD = 400, 48
TOKENS_A_WORD, WORDS_AN_ENTITY = 1.5, 12
"""Tokens per word; words per entity, which has one to four words."""


class Shape(NamedTuple):
    mean_tokens: int
    max_length: int
    batch_sequences: int
    is_ner: bool


SHAPES: dict[ShapeName, Shape] = {
    "cases": Shape(900, 4096, 4, is_ner=False),
    "notes": Shape(450, 4096, 4, is_ner=False),
    "windows": Shape(750, 1024, 16, is_ner=True),
    "titles": Shape(25, 1024, 16, is_ner=True),
}
"""Multilabel: clinical cases and shorter notes. Nested entities: windows of long documents, and titles."""


def encoder_config(*, tiny: bool) -> ModernBertConfig:
    """ModernBERT-base with the French vocabulary, or a tiny model of two layers."""
    special = {f"{role}_token_id": number for number, role in enumerate(("pad", "bos", "eos", "cls", "sep"))}
    if not tiny:
        return ModernBertConfig(vocab_size=32_768, **special)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return ModernBertConfig(vocab_size=256, **small, **special)


def made_workload(name: ShapeName, config: ModernBertConfig, *, tiny: bool) -> tuple[Task, Any]:
    """A task and its workload; with `tiny`, documents are a tenth as long."""
    shape = SHAPES[name]
    if tiny:
        shape = shape._replace(mean_tokens=max(12, shape.mean_tokens // 10), max_length=shape.max_length // 10)
    task = Task.model_validate(
        {
            "name": name,
            "type": "ner" if shape.is_ner else "multilabel",
            "max_length": shape.max_length,
            "epochs": 15,
            "batch_sequences": shape.batch_sequences,
            "gradient_clip": 10,
            "positive_weights": not shape.is_ner,
        }
    )
    draw = np.random.default_rng(7)
    ids = [_token_ids(draw, shape, config.vocab_size, count) for count in (TRAIN, HELD, HELD)]
    if shape.is_ner:
        train, validation, test = (_entities(draw, each) for each in ids)
        labels = LABELS[:10]
        return task, MadeEntities(
            task, EncodedNer(labels, train, validation, test, 16, PADDING_ID, shape.max_length), config
        )
    train_, validation_, test_ = (_documents(draw, each) for each in ids)
    return task, MadeDocuments(
        task, EncodedTask(LABELS, train_, validation_, test_, PADDING_ID, shape.max_length), config
    )


def random_encoder(config: ModernBertConfig) -> Any:
    """Created directly on the device, which is faster."""
    with DEVICE:
        return AutoModel.from_config(config, attn_implementation="sdpa", dtype=torch.float32)


@dataclass(frozen=True)
class MadeDocuments(Classification):
    config: ModernBertConfig

    def build_model(self, folder: Path) -> EncoderClassifier:  # noqa: ARG002
        return EncoderClassifier(random_encoder(self.config), len(self.data.labels), self.task.pooling)


@dataclass(frozen=True)
class MadeEntities(EntityRecognition):
    config: ModernBertConfig

    def build_model(self, folder: Path) -> EncoderTagger:  # noqa: ARG002
        return EncoderTagger(random_encoder(self.config), len(self.data.labels), self.data.longest_span)


def _token_ids(draw: np.random.Generator, shape: Shape, vocabulary: int, count: int) -> list[list[int]]:
    """Random tokens; lengths are log-normal, approximately like those of clinical cases."""
    spread = 0.6
    lengths = draw.lognormal(np.log(shape.mean_tokens) - spread**2 / 2, spread, count).round()
    return [
        draw.integers(FIRST_WORD_ID, vocabulary, int(length)).tolist()
        for length in np.clip(lengths, 8, shape.max_length)
    ]


def _documents(draw: np.random.Generator, token_ids: list[list[int]]) -> EncodedSplit:
    return EncodedSplit(token_ids, draw.random((len(token_ids), len(LABELS))) < 0.1, [""] * len(token_ids))


def _entities(draw: np.random.Generator, token_ids: list[list[int]]) -> EncodedEntities:
    windows, targets = [], []
    for number, ids in enumerate(token_ids):
        positions = list(range(1, len(ids) - 1, 2))[: max(1, int(len(ids) / TOKENS_A_WORD))]
        places = [(10 * word, 10 * word + 9) for word in range(len(positions))]
        windows.append(Window(number, ids, places, positions))
        found = [
            (first, min(first + int(draw.integers(0, 4)), len(positions) - 1), int(draw.integers(0, 10)))
            for first in range(0, len(positions), WORDS_AN_ENTITY)
        ]
        targets.append(found)
    documents = tuple(Document("") for _ in token_ids)
    return EncodedEntities(windows, targets, documents, Reach(0, 0, 0, 0, 0, 0))
