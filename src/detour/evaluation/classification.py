"""Single-label and multilabel classification: items are documents, with one logit per label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from detour.config.models import Task
from detour.evaluation.batches import Indices, sorted_batches
from detour.evaluation.classifier import EncoderClassifier, build_loss, load_encoder
from detour.evaluation.encoding import EncodedSplit, EncodedTask
from detour.evaluation.metrics import PRIMARY_METRIC, Matrix, class_scores, decide, scores
from detour.evaluation.workload import Held, TaskModel
from detour.pretraining.device import has_bf16

LOGIT_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Classified:
    """Both are (documents, labels), in the order of the split's documents."""

    logits: npt.NDArray[np.float32]
    decisions: Matrix


@dataclass(frozen=True, slots=True)
class Classification:
    """A `detour.evaluation.workload.Workload`."""

    task: Task
    data: EncodedTask

    @property
    def primary_metric(self) -> str:
        return PRIMARY_METRIC[self.task.type]

    @property
    def train_lengths(self) -> Sequence[int]:
        return self.data.train.lengths

    def build_model(self, folder: Path) -> EncoderClassifier:
        return EncoderClassifier(load_encoder(folder), len(self.data.labels), self.task.pooling)

    def build_loss(self, device: torch.device) -> nn.Module:
        return build_loss(self.task, torch.from_numpy(self.data.train.truth).float()).to(device)

    def loss(self, model: TaskModel, criterion: nn.Module, batch: Indices) -> Tensor:
        device = next(model.parameters()).device
        truth = torch.from_numpy(self.data.train.truth[batch]).float().to(device)
        loss: Tensor = criterion(self._logits(model, self.data.train, batch), truth)
        return loss

    def weight(self, batch: Indices) -> float:
        return float(len(batch))

    def decide(self, model: TaskModel, split: Held, batch_items: int) -> Classified:
        documents: EncodedSplit = getattr(self.data, split)
        logits = np.empty(documents.truth.shape, dtype=np.float32)
        for batch in sorted_batches(documents.lengths, batch_items):
            logits[batch] = self._logits(model, documents, batch).cpu().numpy()
        return Classified(logits, decide(logits, self.task.type, self.task.threshold))

    def scores(self, split: Held, decided: Classified) -> dict[str, float]:
        return scores(getattr(self.data, split).truth, decided.decisions, self.task.type)

    def result(self, decided: Classified) -> dict[str, Any]:
        """The fields of the result that only this kind of task has."""
        return {"classes": class_scores(self.data.test.truth, decided.decisions, self.data.labels)}

    def predictions(self, decided: Classified) -> list[dict[str, Any]]:
        """One entry per test document; logits are in the order of the result's `labels`."""
        labels, names = self.data.labels, self.data.test.names
        rows = zip(names, self.data.test.truth, decided.decisions, decided.logits, strict=True)
        return [
            {
                **({"document": name} if name else {}),
                "truth": _names(truth, labels),
                "decided": _names(decision, labels),
                "logits": [round(float(logit), LOGIT_DIGITS) for logit in logits],
            }
            for name, truth, decision, logits in rows
        ]

    def _logits(self, model: TaskModel, split: EncodedSplit, batch: Indices) -> Tensor:
        token_ids = [split.token_ids[index] for index in batch]
        documents = model.sequences(
            token_ids, self.data.padding_id, most=self.task.batch_sequences, longest=self.data.max_length
        )
        device = next(model.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bf16(device)):
            logits = model(documents)
        return logits.float()  # type: ignore[no-any-return]


def _names(row: Matrix, labels: Sequence[str]) -> list[str]:
    return [label for label, holds in zip(labels, row, strict=True) if holds]
