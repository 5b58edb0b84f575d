"""The loss of both objectives: mean cross-entropy over the tokens that have a label."""

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
    """Scalar in fp32, in nats a predicted token; 0 (with a gradient of 0) when the batch has no label.

    Only positions with a label reach the head and the vocabulary matrix. `full` holds all their logits and takes their
    gradient as autograd finds it; `chunked` (and `auto`) goes through them piece by piece.
    """
    hidden = encode(model, batch, causal=causal)[batch["label_positions"]]
    hidden, labels, decoder = model.head(hidden), batch["labels"], model.decoder
    if not len(labels):
        return torch.stack([hidden.sum(), *(p.sum() for p in decoder.parameters())]).sum() * 0.0
    if cross_entropy == "full":
        return functional.cross_entropy(decoder(hidden).float(), labels)
    return linear_cross_entropy(hidden, decoder.weight, decoder.bias, labels)
