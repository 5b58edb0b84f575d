"""flash-attn-4 as one node of a compiled graph; the package's own autograd function would break the graph.

Its forward and backward have no public names; torch's own integration calls the same two functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detour.pretraining.operators import empty_gradients
from detour.pretraining.window import UNBOUNDED


@torch.library.custom_op("detour::flash_attention_4", mutates_args=())
def flash_4(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, longest: int, scale: float | None, left: int, right: int
) -> tuple[Tensor, Tensor]:
    """The output and the log-sum-exp of the scores."""
    from flash_attn.cute.interface import _flash_attn_fwd

    output, log_sums, *_ = _flash_attn_fwd(
        q, k, v, softmax_scale=scale, return_lse=True, **_setting(cu_seqlens, longest, left, right)
    )
    return output, log_sums


@flash_4.register_fake
def _(q: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q, memory_format=torch.contiguous_format), q.new_empty(
        q.shape[1], q.shape[0], dtype=torch.float32
    )


@torch.library.custom_op("detour::flash_attention_4_backward", mutates_args=())
def _backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    log_sums: Tensor,
    cu_seqlens: Tensor,
    longest: int,
    scale: float | None,
    left: int,
    right: int,
) -> list[Tensor]:
    from flash_attn.cute.interface import _flash_attn_bwd

    gradients = empty_gradients(gradient, q, k, v)
    setting = _setting(cu_seqlens, longest, left, right)
    places = dict(zip(("dq", "dk", "dv"), gradients, strict=True))
    _flash_attn_bwd(q, k, v, output, gradient, log_sums, softmax_scale=scale, **setting, **places)
    return gradients


def _setting(cu_seqlens: Tensor, longest: int, left: int, right: int) -> dict[str, Any]:
    """The arguments that forward and backward share; the package writes an unbounded side as None."""
    return {
        "causal": right == 0,
        "window_size_left": None if left == UNBOUNDED else left,
        "window_size_right": None if right == UNBOUNDED else right,
        "cu_seqlens_q": cu_seqlens,
        "cu_seqlens_k": cu_seqlens,
        "max_seqlen_q": longest,
        "max_seqlen_k": longest,
    }


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, cu_seqlens, *rest = inputs
    ctx.save_for_backward(q, k, v, *output, cu_seqlens)
    ctx.rest = rest


def _gradients(ctx: Any, gradient: Tensor, _of_log_sums: Tensor) -> tuple[Tensor | None, ...]:
    d_q, d_k, d_v = _backward(gradient.contiguous(), *ctx.saved_tensors, *ctx.rest)
    return d_q, d_k, d_v, None, None, None, None, None


_backward.register_fake(empty_gradients)
flash_4.register_autograd(_gradients, setup_context=_keep)
