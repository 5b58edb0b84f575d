"""A residual stream in bf16, which halves the memory traffic between matrix products.

Under autocast the embeddings, every norm and every addition to the stream produce fp32. Here the stream starts in bf16
and norms keep its type; their statistics, the weights and the optimizer stay in fp32. This rounds more than plain
autocast, so a recipe has to request it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ModernBertForMaskedLM


def set_bf16_stream(model: ModernBertForMaskedLM) -> None:
    model.model.embeddings.register_forward_hook(_rounded)
    for module in model.model.modules():
        if isinstance(module, nn.LayerNorm):
            module.__class__ = StreamNorm  # a method bound to each instance would be compiled once per instance


class StreamNorm(nn.LayerNorm):
    """A norm outside autocast, which would return fp32; torch computes the statistics of a bf16 norm in fp32."""

    def forward(self, hidden: Tensor) -> Tensor:
        weight, bias = (None if part is None else part.to(hidden.dtype) for part in (self.weight, self.bias))
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.layer_norm(hidden, self.normalized_shape, weight, bias, self.eps)


def _rounded(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.to(torch.bfloat16)
