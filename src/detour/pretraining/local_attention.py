"""Rotary attention within a narrow window as one node of a compiled graph, with gradients of its own.

The kernels are Triton's and need CUDA. They read queries, keys and values as one product of matrices puts them out, and
write their gradients in the same way, so that the product's own gradient is one product too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detour.pretraining.window import Window

BLOCK_TOKENS = 64
"""As many as the published windows have on a side, and as Hopper's matrix unit takes at once."""
WARPS = 4
LOG2_E = 1.4426950408889634
MOST_BLOCKS = 4
"""Beside a program's own; for wider windows tiles of flash kernels waste little."""


def is_narrow(window: Window) -> bool:
    """Whether these kernels are meant for it."""
    return min(window) >= 0 and sum(map(_blocks, window)) <= MOST_BLOCKS


def document_numbers(cu_seqlens: Tensor, tokens: int) -> Tensor:
    """Of each token, (tokens,) int32."""
    token = torch.arange(tokens, device=cu_seqlens.device, dtype=torch.int32)
    return torch.searchsorted(cu_seqlens, token, right=True, out_int32=True)


def packed_angles(cos: Tensor, sin: Tensor) -> Tensor:
    """(tokens, head size) float16, of cosines and sines as rotary embeddings have them, equal in both halves of a head.

    float16 rounds them to a quarter of what bf16 makes of rotated queries and keys, in half of fp32's memory traffic.
    """
    half = cos.shape[-1] // 2
    return torch.cat((cos[..., :half], sin[..., :half]), -1).to(torch.float16)


def local_attention(qkv: Tensor, angles: Tensor, documents: Tensor, scale: float | None, window: Window) -> Tensor:
    """`qkv` is (tokens, 3, heads, head size) in half precision, not rotated; out comes (tokens, heads, head size)."""
    scale = qkv.shape[-1] ** -0.5 if scale is None else scale
    output: Tensor = _forward(qkv, angles, documents, scale, *window)[0]
    return output


@torch.library.custom_op("detour::local_attention", mutates_args=())
def _forward(
    qkv: Tensor, angles: Tensor, documents: Tensor, scale: float, left: int, right: int
) -> tuple[Tensor, Tensor]:
    """Output, and log-sums of the scores to the base of 2."""
    from detour.pretraining import local_kernels  # needs Triton

    output, log_sums = _empty_output(qkv)
    _start(local_kernels.forward, (left, right), (qkv, angles, documents, output, log_sums), scale * LOG2_E)
    return output, log_sums


@torch.library.custom_op("detour::local_attention_backward", mutates_args=())
def _backward(
    gradient: Tensor,
    qkv: Tensor,
    angles: Tensor,
    documents: Tensor,
    output: Tensor,
    log_sums: Tensor,
    scale: float,
    left: int,
    right: int,
) -> Tensor:
    from detour.pretraining import local_kernels  # needs Triton

    d_qkv = torch.empty_like(qkv)
    tensors = (qkv, angles, documents, output, log_sums, gradient, d_qkv)
    _start(local_kernels.backward, (left, right), tensors, scale * LOG2_E, scale)
    return d_qkv


def _empty_output(qkv: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    tokens, _three, heads, size = qkv.shape
    return qkv.new_empty(tokens, heads, size), qkv.new_empty(heads, tokens, dtype=torch.float32)


def _empty_gradient(_gradient: Tensor, qkv: Tensor, *_: object) -> Tensor:
    return torch.empty_like(qkv)


def _start(kernel: Any, window: Window, tensors: tuple[Tensor, ...], *scales: float) -> None:
    """A program for each head and block; the heads of a block lie side by side in memory and start one by one."""
    tokens, _three, heads, size = tensors[0].shape
    if not all(tensor.is_contiguous() for tensor in tensors):
        raise ValueError("local attention reads and writes contiguous tensors alone")
    kernel[heads, _blocks(tokens)](
        *tensors,
        tokens,
        heads * size,
        *scales,
        *window,
        *map(_blocks, window),
        BLOCK_TOKENS,
        size // 2,
        num_warps=WARPS,
    )


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale, ctx.left, ctx.right = inputs
    ctx.save_for_backward(*tensors, *output)


def _gradients(ctx: Any, gradient: Tensor, _of_log_sums: Tensor) -> tuple[Tensor | None, ...]:
    d_qkv = _backward(gradient.contiguous(), *ctx.saved_tensors, ctx.scale, ctx.left, ctx.right)
    return d_qkv, None, None, None, None, None


_forward.register_fake(_empty_output)
_backward.register_fake(_empty_gradient)
_forward.register_autograd(_gradients, setup_context=_keep)
