"""Shared by the custom operators that represent attention in a compiled graph."""

from __future__ import annotations

import torch
from torch import Tensor


def empty_gradients(_gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: object) -> list[Tensor]:
    """Uninitialized gradients of q, k and v: buffers for a backward operator, and its fake implementation."""
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v)]
