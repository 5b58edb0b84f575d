"""An exported encoder under a linear head, and the loss that trains both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import AutoModel

from detour.config.models import Task


class EncoderClassifier(nn.Module):
    """Logits (documents, labels) from the first token's state or the mean over the document's tokens."""

    def __init__(self, folder: Path, labels: int, pooling: Literal["first", "mean"]) -> None:
        super().__init__()
        # An export may be bf16 and is trained in fp32; without a named attention a slower one may be taken.
        self.encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        self.head = nn.Linear(self.encoder.config.hidden_size, labels)
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "first":
            pooled = states[:, 0]
        else:
            weight = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * weight).sum(dim=1) / weight.sum(dim=1)
        logits: Tensor = self.head(pooled)
        return logits


def build_loss(task: Task, truth: Tensor) -> nn.Module:
    """Cross-entropy, or for `multilabel` the binary one; `positive_weights` are each label's negatives / positives.

    `truth`: the training documents' 0/1 matrix (documents, labels); both losses take rows of it as their target.
    """
    if task.type == "single_label":
        return nn.CrossEntropyLoss()
    positives = truth.sum(dim=0)
    weights = (len(truth) - positives) / positives.clamp(min=1)
    return nn.BCEWithLogitsLoss(pos_weight=weights if task.positive_weights else None)


def build_optimizer(model: EncoderClassifier, task: Task) -> torch.optim.AdamW:
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
