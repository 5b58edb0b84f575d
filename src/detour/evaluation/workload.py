"""The interface of a kind of task to fine-tuning: how it is trained, decided and scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from detour.config.models import Task
from detour.evaluation.batches import Indices
from detour.evaluation.graphs import EncoderGraphs
from detour.evaluation.sequences import PLAIN, Joined, Mode, Padded, Sequences

Held = Literal["validation", "test"]
"""The scored splits."""


class TaskModel(nn.Module):
    """An encoder with a head, each with its own learning rate."""

    encoder: Any
    head: Any
    mode: Mode = PLAIN
    graphs: EncoderGraphs | None = None
    """Only if the mode uses them."""

    def sequences(self, token_ids: Sequence[Sequence[int]], padding_id: int, *, most: int, longest: int) -> Sequences:
        """A batch in the form and on the device of the encoder.

        Training batches have at most `most` sequences, and no sequence has more than `longest` tokens.
        """
        device = next(self.parameters()).device
        if not self.mode.joined:
            return Padded.of(token_ids, padding_id, device)
        return Joined.of(token_ids, padding_id, device, most=most, longest=longest, mode=self.mode, graphs=self.graphs)


class Workload(Protocol):
    """A kind of task. An item, the unit of batches, is a document or a window of one."""

    @property
    def primary_metric(self) -> str:
        """The metric that selects the best validation and is shown first."""

    @property
    def train_lengths(self) -> Sequence[int]:
        """Number of tokens of each training item."""

    def build_model(self, folder: Path) -> TaskModel:
        """The encoder of an export with a new head."""

    def build_loss(self, device: torch.device) -> nn.Module:
        """The criterion that `loss` is called with."""

    def loss(self, model: TaskModel, criterion: nn.Module, batch: Indices) -> Tensor:
        """The mean loss of a batch of training items."""

    def weight(self, batch: Indices) -> float:
        """The number of targets in the batch, by which the losses of its parts are weighted."""

    def decide(self, model: TaskModel, split: Held, batch_items: int) -> Any:
        """The model's decisions for the documents of a split, in their order."""

    def scores(self, split: Held, decided: Any) -> dict[str, float]:
        """Metric -> score between 0 and 1."""


def build_optimizer(model: TaskModel, task: Task) -> torch.optim.AdamW:
    """AdamW without decay for one-dimensional weights (biases and norms). Each group has its `peak_lr`."""
    parts = ((model.encoder, task.lr), (model.head, task.head_lr or task.lr))
    groups = [
        {
            "params": [weight for weight in part.parameters() if (weight.ndim > 1) == decayed],
            "weight_decay": task.weight_decay if decayed else 0.0,
            "lr": lr,
            "peak_lr": lr,
        }
        for part, lr in parts
        for decayed in (True, False)
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def lr_factor(step: int, steps: int, warmup: float) -> float:
    """Fraction of the peak lr at update `step` (from 0): linearly up over `warmup` * `steps` steps, then linearly down.

    It is never 0, so that no update is wasted: the first and the last step are 1 / n of their ramps.
    """
    warmup_steps = round(warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (steps - step) / (steps - warmup_steps)
