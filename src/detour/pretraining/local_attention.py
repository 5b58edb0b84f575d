"""Attention within a narrow window as one node of a compiled graph, with its own backward pass.

The kernels are written in Triton and need CUDA; `kernels` has the exact reference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detour.pretraining.operators import empty_gradients
from detour.pretraining.window import Window

BLOCK_TOKENS = 64
"""One side of the published models' window, and the tile of Hopper's matrix unit."""
WARPS = 4
LOG2_E = 1.4426950408889634
MOST_BLOCKS = 4
"""Upper bound on blocks besides a program's own; for wider windows the tiles of flash kernels waste little."""


def is_narrow(window: Window) -> bool:
    """Whether these kernels suit the window."""
    return min(window) >= 0 and sum(map(_blocks, window)) <= MOST_BLOCKS


def local_attention(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, scale: float | None, window: Window) -> Tensor:
    """A `Kernel` (see `kernels`) for narrow windows."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    output: Tensor = _forward(q, k, v, cu_seqlens, scale, *window)[0]
    return output


@torch.library.custom_op("detour::local_attention", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, scale: float, left: int, right: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, the document index of each token, and the base-2 log-sum-exp of the scores."""
    from detour.pretraining import local_kernels  # needs Triton

    output, documents, log_sums = _empty_outputs(q)
    token = torch.arange(len(q), device=q.device, dtype=torch.int32)
    torch.searchsorted(cu_seqlens, token, right=True, out_int32=True, out=documents)
    _start(local_kernels.forward, (left, right), (q, k, v, documents, output, log_sums), scale * LOG2_E)
    return output, documents, log_sums


@torch.library.custom_op("detour::local_attention_backward", mutates_args=())
def _backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    documents: Tensor,
    log_sums: Tensor,
    scale: float,
    left: int,
    right: int,
) -> list[Tensor]:
    from detour.pretraining import local_kernels  # needs Triton

    gradients = empty_gradients(gradient, q, k, v)
    tensors = (q, k, v, documents, output, log_sums, gradient, *gradients)
    _start(local_kernels.backward, (left, right), tensors, scale * LOG2_E, scale)
    return gradients


def _empty_outputs(q: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    tokens, heads, _size = q.shape
    output = torch.empty_like(q, memory_format=torch.contiguous_format)
    return output, q.new_empty(tokens, dtype=torch.int32), q.new_empty(heads, tokens, dtype=torch.float32)


def _start(kernel: Any, window: Window, tensors: tuple[Tensor, ...], *scales: float) -> None:
    """Launch a program per head and block; heads vary fastest, as they are adjacent in memory."""
    tokens, heads, size = tensors[0].shape
    kernel[heads, _blocks(tokens)](
        *(tensor.contiguous() for tensor in tensors),
        tokens,
        heads * size,
        *scales,
        *window,
        *map(_blocks, window),
        BLOCK_TOKENS,
        size,
        num_warps=WARPS,
    )


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, _cu_seqlens, *ctx.rest = inputs
    ctx.save_for_backward(q, k, v, *output)


def _gradients(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    d_q, d_k, d_v = _backward(gradient, *ctx.saved_tensors, *ctx.rest)
    return d_q, d_k, d_v, None, None, None, None


_forward.register_fake(_empty_outputs)
_backward.register_fake(empty_gradients)
_forward.register_autograd(_gradients, setup_context=_keep)
