"""A tiny exported encoder, and a task of three labels that follow from single words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

from detour.config.models import Task
from tests.support.corpora import SPECIAL_TOKENS, small_tokenizer

WORDS = {"cardio": "coeur", "neuro": "cerveau", "pneumo": "poumon"}
OTHERS = ("maladie", "chronique", "du", "de", "la", "sans", "précision", "autre", "aiguë", "avec")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ModernBERT, 2 layers of 32, random weights, with dropout, so that only controlled randomness is repeatable."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=small_tokenizer(), **{f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        mlp_dropout=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        cls_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    ModernBertForMaskedLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 documents; `label` is that of the first organ, `labels` those of all organs (none in a few documents)."""
    draw = random.Random(7)
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < 240:
        named = draw.sample(sorted(WORDS), draw.choice((1, 1, 2)))
        words = [WORDS[label] for label in named] + draw.choices(OTHERS, k=draw.randrange(1, 9))
        text = " ".join(words)
        rows[text] = {"text": text, "label": named[0], "labels": named}
    path = tmp_path_factory.mktemp("task") / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    return path


def make_task(**changes: Any) -> Task:
    """Return a single-label task on `task_file`: 160 / 40 / 40 documents, ten steps an epoch, unless changed."""
    return Task.model_validate(
        {
            "name": "organs",
            "type": "single_label",
            "data": {"path": "task.jsonl"},
            "split": {"train": 160, "validation": 40, "test": 40},
            "max_length": 32,
            "epochs": 4,
            "batch_sequences": 16,
            "lr": 3e-3,
            "pooling": "mean",
        }
        | changes
    )


def make_multilabel_task(**changes: Any) -> Task:
    data = {"path": "task.jsonl", "label": "labels"}
    return make_task(**{"type": "multilabel", "data": data, "positive_weights": True} | changes)
