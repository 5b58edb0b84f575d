"""The loss of both objectives: mean cross-entropy over the labelled tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from transformers import ModernBertForMaskedLM

from detour.pretraining.attention import encode
from detour.pretraining.batches import Batch
from detour.pretraining.cross_entropy import linear_cross_entropy

CrossEntropy = Literal["auto", "full", "chunked"]


def language_model_loss(
    model: ModernBertForMaskedLM, batch: Batch, *, causal: bool, cross_entropy: CrossEntropy = "auto"
) -> Tensor:
    """Mean loss in nats per labelled token, an fp32 scalar; 0 with zero gradients if the batch has no label.

    Only labelled positions reach the head and the vocabulary matrix. `full` holds all their logits and leaves the
    gradient to autograd; `chunked` (and `auto`) processes them in pieces.
    """
    hidden = encode(model, batch, causal=causal)[batch["label_positions"]]
    hidden, labels, decoder = model.head(hidden), batch["labels"], model.decoder
    if not len(labels):
        return torch.stack([hidden.sum(), *(p.sum() for p in decoder.parameters())]).sum() * 0.0
    if cross_entropy == "full":
        return functional.cross_entropy(decoder(hidden).float(), labels)
    return linear_cross_entropy(hidden, decoder.weight, decoder.bias, labels)
