"""What a kind of task is to its fine-tuning: how it is learnt, decided and scored."""

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
"""The splits that are scored."""


class TaskModel(nn.Module):
    """An encoder under a head, which learn at rates of their own."""

    encoder: Any
    head: Any
    mode: Mode = PLAIN
    graphs: EncoderGraphs | None = None
    """Where the mode has them."""

    def sequences(self, token_ids: Sequence[Sequence[int]], padding_id: int, *, most: int, longest: int) -> Sequences:
        """As the encoder reads them, on its device; in training never more than `most`, none of more than `longest`
        tokens."""
        device = next(self.parameters()).device
        if not self.mode.joined:
            return Padded.of(token_ids, padding_id, device)
        return Joined.of(token_ids, padding_id, device, most=most, longest=longest, mode=self.mode, graphs=self.graphs)


class Workload(Protocol):
    """An item is what batches are made of: a document, or a window of one."""

    @property
    def primary_metric(self) -> str:
        """What picks the best validation and is shown first."""

    @property
    def train_lengths(self) -> Sequence[int]:
        """Tokens of each training item."""

    def build_model(self, folder: Path) -> TaskModel:
        """The encoder of an export under a new head."""

    def build_loss(self, device: torch.device) -> nn.Module:
        """Means over a batch's targets."""

    def loss(self, model: TaskModel, criterion: nn.Module, batch: Indices) -> Tensor:
        """The mean loss of some training items."""

    def weight(self, batch: Indices) -> float:
        """How many targets the mean is over: the share of a part of a batch."""

    def decide(self, model: TaskModel, split: Held, batch_items: int) -> Any:
        """What the model says of a split's documents, in their order."""

    def scores(self, split: Held, decided: Any) -> dict[str, float]:
        """Figures between 0 and 1 by their names."""


def build_optimizer(model: TaskModel, task: Task) -> torch.optim.AdamW:
    """AdamW; biases and norms (all one-dimensional weights) are not decayed. `peak_lr` is kept in each group."""
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
    """Share of the peak lr at update `step` (from 0): linear up over `warmup` x `steps`, then linear down to 0.

    Never 0 at either end, so that no update is wasted: the first warm-up step is 1 / n, the last one 1 / n too.
    """
    warmup_steps = round(warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (steps - step) / (steps - warmup_steps)
