"""A residual stream in bf16, which halves the memory traffic between matrices.

Under autocast the embeddings and every norm put out fp32, and so does each addition to the stream. Here the stream
starts in bf16 and norms keep its type; their statistics, the weights and the optimizer stay in fp32. It rounds more
than plain autocast does: the recipe has to name it.
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
            module.__class__ = StreamNorm  # a method of the instance alone would be compiled anew for each


class StreamNorm(nn.LayerNorm):
    """Outside autocast, which would put out fp32; torch computes the statistics of a bf16 norm in fp32."""

    def forward(self, hidden: Tensor) -> Tensor:
        weight, bias = (None if part is None else part.to(hidden.dtype) for part in (self.weight, self.bias))
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.layer_norm(hidden, self.normalized_shape, weight, bias, self.eps)


def _rounded(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.to(torch.bfloat16)
