"""Attention over packed documents: the kernels that exist, one interface, and the exact reference.

A kernel takes queries, keys and values as (tokens, heads, head size), `cu_seqlens` as (documents + 1,) int32, the
length of the longest document, the scale of the scores, and a window of (left, right) tokens around the query:
UNBOUNDED means no limit, right is 0 in causal mode. The output has the shape of the queries. The last entry of
`cu_seqlens` must be the number of tokens: every kernel leaves output past the last boundary unwritten.

All but the reference need CUDA and half precision: flash-attn 2 (`flash_attn`), FlashAttention-3
(`flash_attn_interface`, built from source), flash-attn-4 (`flash_attn.cute`), and `varlen`, torch's own build of
FlashAttention-2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from detour.pretraining.flash_4 import flash_4
from detour.pretraining.local_attention import is_narrow, local_attention
from detour.pretraining.operators import empty_gradients
from detour.pretraining.window import UNBOUNDED, Window

HALF = (torch.bfloat16, torch.float16)
LOCAL = "+local"
"""Suffix of a kernel's name: layers with a narrow window use our own kernel, the others use the named one."""
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, int, float | None, Window], Tensor]


def torch_varlen(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, longest: int, scale: float | None, window: Window
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # not importable on every CPU build

    joined = varlen_attn(q, k, v, cu_seqlens, cu_seqlens, longest, longest, scale=scale, window_size=window)
    assert isinstance(joined, Tensor)
    return joined


def flash_attention_2(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, longest: int, scale: float | None, window: Window
) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    return _flash(flash_attn_varlen_func, q, k, v, cu_seqlens, longest, scale, window)


def flash_attention_3(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, longest: int, scale: float | None, window: Window
) -> Tensor:
    from flash_attn_interface import flash_attn_varlen_func

    return _flash(flash_attn_varlen_func, q, k, v, cu_seqlens, longest, scale, window)


def flash_attention_4(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, longest: int, scale: float | None, window: Window
) -> Tensor:
    output: Tensor = flash_4(q, k, v, cu_seqlens, longest, scale, *window)[0]
    return output


def _call_flash(
    function: Callable[..., Any],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens: Tensor,
    longest: int,
    scale: float | None,
    window: tuple[int | None, ...],
) -> Tensor:
    """The common call of flash-attn 2 and 3; some versions also return the log-sum-exp of the scores."""
    output = function(
        q,
        k,
        v,
        cu_seqlens_q=cu_seqlens,
        cu_seqlens_k=cu_seqlens,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        softmax_scale=scale,
        causal=window[1] == 0,
        window_size=window,
    )
    joined = output[0] if isinstance(output, tuple) else output
    assert isinstance(joined, Tensor)
    return joined


_flash: Callable[..., Tensor] = torch.compiler.disable(_call_flash)  # type: ignore[no-untyped-call]


def _with_local(kernel: Kernel) -> Kernel:
    def attend(
        q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, longest: int, scale: float | None, window: Window
    ) -> Tensor:
        if is_narrow(window):
            return local_attention(q, k, v, cu_seqlens, scale, window)
        return kernel(q, k, v, cu_seqlens, longest, scale, window)

    return attend


RECIPE_KERNELS: dict[str, Kernel] = {
    "varlen": torch_varlen,
    "flash_attention_2": flash_attention_2,
    "flash_attention_3": flash_attention_3,
    "flash_attention_4": flash_attention_4,
}
"""By the name that recipes use."""
KERNELS: dict[str, Kernel] = {
    **RECIPE_KERNELS,
    **{name + LOCAL: _with_local(kernel) for name, kernel in RECIPE_KERNELS.items()},
}
"""Everything that `auto` measures."""


def reference(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, scale: float | None, window: Window) -> Tensor:
    """Exact attention, on any device and in any precision; adjacent documents of equal length form a batch."""
    outputs = []
    for query, key, value in _by_length(cu_seqlens, q, k, v):
        mask, is_causal = _window_mask(query.shape[2], window, q.device)
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=is_causal, scale=scale
        )
        outputs.append(attended)
    return _joined(outputs)


def _by_length(cu_seqlens: Tensor, *joined: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield (documents, heads, length, head size) for each run of documents of equal length."""
    runs = [(length, sum(1 for _ in run)) for length, run in groupby(cu_seqlens.diff().tolist())]
    sizes = [length * documents for length, documents in runs]
    for (length, documents), *parts in zip(runs, *(torch.split(x, sizes) for x in joined), strict=True):
        yield tuple(part.view(documents, length, *part.shape[1:]).transpose(1, 2) for part in parts)


def _joined(runs: Sequence[Tensor]) -> Tensor:
    return torch.cat([run.transpose(1, 2).flatten(0, 1) for run in runs])


def _window_mask(length: int, window: Window, device: torch.device) -> tuple[Tensor | None, bool]:
    """The mask of one document and torch's causal flag; no mask if the window spans the document."""
    left, right = (length if side == UNBOUNDED else side for side in window)
    if left >= length - 1 and (right == 0 or right >= length - 1):
        return None, right == 0
    return _seen(length, left, right, device), False


def _seen(length: int, left: int, right: int, device: torch.device) -> Tensor:
    token = torch.arange(length, device=device)
    distance = token[:, None] - token[None, :]
    return (distance <= left) & (distance >= -right)


@torch.library.custom_op("detour::packed_reference", mutates_args=())
def opaque_reference(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, scale: float | None, left: int, right: int
) -> Tensor:
    """The reference as one opaque node of a compiled graph: its loop depends on document lengths, so tracing it would
    recompile for every batch."""
    return reference(q, k, v, cu_seqlens, scale, (left, right))


@opaque_reference.register_fake
def _(q: Tensor, *_: object) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


@torch.library.custom_op("detour::packed_reference_backward", mutates_args=())
def _opaque_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, scale: float | None, left: int, right: int
) -> list[Tensor]:
    """The analytic gradient: autograd does not see inside a custom operator."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    gradients: list[list[Tensor]] = [[], [], []]
    for above, query, key, value in _by_length(cu_seqlens, gradient, q, k, v):
        mask, is_causal = _window_mask(query.shape[2], (left, right), q.device)
        if is_causal:
            mask = _seen(query.shape[2], query.shape[2], 0, q.device)
        scores = query @ key.mT * scale
        shares = (scores if mask is None else scores.masked_fill(~mask, float("-inf"))).softmax(-1)
        d_shares = above @ value.mT
        d_scores = shares * (d_shares - (d_shares * shares).sum(-1, keepdim=True)) * scale
        for place, part in zip(gradients, (d_scores @ key, d_scores.mT @ query, shares.mT @ above), strict=True):
            place.append(part)
    return [_joined(parts) for parts in gradients]


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001, called by name
    ctx.save_for_backward(*inputs[:4])
    ctx.rest = inputs[4:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    d_q, d_k, d_v = _opaque_backward(gradient, *ctx.saved_tensors, *ctx.rest)
    return d_q, d_k, d_v, None, None, None, None


_opaque_backward.register_fake(empty_gradients)
opaque_reference.register_autograd(_backward, setup_context=_keep_inputs)
