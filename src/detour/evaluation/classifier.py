"""An exported encoder under a linear head, and the loss that trains both."""

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
    """An export may be bf16 and is trained in fp32; without a named attention a slower one may be taken."""
    return AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


class EncoderClassifier(TaskModel):
    """Logits (documents, labels) from the first token's state or the mean over the document's tokens."""

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
    """Cross-entropy, or for `multilabel` the binary one; `positive_weights` are each label's negatives / positives.

    `truth`: the training documents' 0/1 matrix (documents, labels); both losses take rows of it as their target. A
    label without positives weighs as one with a single one, so that weights stay finite; one without negatives too, for
    with no weight its positives would teach nothing.
    """
    if task.type == "single_label":
        return nn.CrossEntropyLoss()
    positives = truth.sum(dim=0)
    weights = (len(truth) - positives).clamp(min=1) / positives.clamp(min=1)
    return nn.BCEWithLogitsLoss(pos_weight=weights if task.positive_weights else None)
