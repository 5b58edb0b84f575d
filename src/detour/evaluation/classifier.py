"""An exported encoder with a linear head, and the loss that trains both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModel

from detour.config.models import Task
from detour.evaluation.sequences import Sequences
from detour.evaluation.workload import TaskModel


def load_encoder(folder: Path) -> Any:
    """Load an export, possibly bf16, for training in fp32; without `sdpa`, transformers may pick a slower attention."""
    return AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


class EncoderClassifier(TaskModel):
    """Logits (documents, labels) from the state of the first token or the mean over a document's tokens."""

    def __init__(self, encoder: Any, labels: int, pooling: Literal["first", "mean"]) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(self.encoder.config.hidden_size, labels)
        self.pooling = pooling

    def forward(self, documents: Sequences) -> Tensor:
        states = documents.encode(self.encoder)
        logits: Tensor = self.head(states.first() if self.pooling == "first" else states.mean())
        return logits


def build_loss(task: Task, truth: Tensor) -> nn.Module:
    """Cross-entropy, binary for `multilabel`; `positive_weights` weights each label by negatives / positives.

    `truth` is the 0/1 matrix (documents, labels) of the training documents; both losses take its rows as targets.
    Positives and negatives count as at least 1, so that every weight is finite and above 0.
    """
    if task.type == "single_label":
        return nn.CrossEntropyLoss()
    positives = truth.sum(dim=0)
    weights = (len(truth) - positives).clamp(min=1) / positives.clamp(min=1)
    return nn.BCEWithLogitsLoss(pos_weight=weights if task.positive_weights else None)
