"""Mean cross-entropy of `hidden @ weight.T + bias` without holding the logits of all tokens.

The logits of 8,192 tokens over a vocabulary of 50,368 are 1.65 GB in fp32, and eager code holds three such arrays.
Here the tokens are processed in pieces, each to its end: logits, loss, gradient of the logits, gradients of both
factors. The gradients are therefore computed in the forward pass and only scaled in the backward pass.

The loss and the gradient of the weight are summed over pieces in fp32. An operator that sums them in bf16, such as
torch 2.13's `linear_cross_entropy`, misreports the loss by several percent with a hundred pieces, and the gradient by
more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from detour.pretraining.compiling import compiled_at_first_use

CPU_PIECE_TOKENS = 512
"""Few enough for their logits to fit the cache: 1.5 times as fast as one piece for 4,096 tokens and 4,096 words."""
GPU_PIECE_TOKENS = 8192
"""Few enough for their logits to stay below 1 GB in bf16, enough to occupy the device."""


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, *, pieces: int | None = None
) -> Tensor:
    """Mean loss in nats, an fp32 scalar, of `hidden` (tokens, width), `weight` (words, width) and `labels` (tokens,).

    Matrices are multiplied in autocast's type if it is enabled, otherwise in that of `hidden`; gradients have the
    types of their tensors. At least one label is required. `pieces`, for tests, overrides the number of pieces.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    if pieces is None:
        pieces = -(-len(labels) // (CPU_PIECE_TOKENS if device == "cpu" else GPU_PIECE_TOKENS))
    with torch.autocast(device, enabled=False):
        if torch.is_grad_enabled():
            loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
                hidden, weight, bias, labels, dtype, pieces
            )
            return loss
        return _value(hidden, weight, bias, labels, dtype, pieces)


def _value(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, dtype: torch.dtype, pieces: int
) -> Tensor:
    weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    total = torch.zeros((), dtype=torch.float32, device=hidden.device)
    for piece, targets in zip(hidden.to(dtype).chunk(pieces), labels.chunk(pieces), strict=True):
        logits = functional.linear(piece, weight, bias)
        total += functional.cross_entropy(logits.float(), targets, reduction="sum")
    return total / len(labels)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        dtype: torch.dtype,
        pieces: int,
    ) -> Tensor:
        for_hidden, for_weight, for_bias = ctx.needs_input_grad[:3]
        inputs, cast_bias = hidden.detach().to(dtype), None if bias is None else bias.to(dtype)
        cast_weight = weight.to(dtype)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        d_hidden = torch.empty_like(inputs) if for_hidden else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if for_weight else None
        d_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and for_bias else None
        start = 0
        for piece, targets in zip(inputs.chunk(pieces), labels.chunk(pieces), strict=True):
            logits = functional.linear(piece, cast_weight, cast_bias)
            loss, d_logits = softmax_gradient(logits, targets)
            total += loss
            if d_hidden is not None:
                torch.mm(d_logits, cast_weight, out=d_hidden[start : start + len(piece)])
            if d_weight is not None:
                _add_product(d_weight, d_logits, piece)
            if d_bias is not None:
                d_bias += d_logits.sum(0, dtype=torch.float32)
            start += len(piece)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        ctx.labels = len(labels)
        return total / len(labels)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream[0] / ctx.labels
        gradients = (
            None if gradient is None else gradient.mul(scale).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return *gradients, None, None, None


def softmax_gradient(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The summed loss in fp32, and its gradient with respect to the logits, in their type.

    The label's 1 is subtracted before rounding: 0.99 is 0.988 in bf16, which would put the gradient off by a fifth.
    On a GPU this is one fused kernel: two reads and one write of the logits.
    """
    return _fused(logits, labels) if logits.is_cuda else _step_by_step(logits, labels)


def _step_by_step(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    column = labels[:, None]
    log_shares = logits.float().log_softmax(-1)
    loss = -log_shares.gather(1, column).sum()
    gradient = log_shares.exp_()
    gradient.scatter_add_(1, column, gradient.new_full(column.shape, -1.0))
    return loss, gradient.to(logits.dtype)


def in_one_pass(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The same as a single expression without intermediate writes, which compiles to one kernel."""
    scores = logits.float()
    log_total = scores.logsumexp(-1, keepdim=True)
    is_label = torch.arange(logits.shape[1], device=logits.device) == labels[:, None]
    loss = (log_total[:, 0] - torch.where(is_label, scores, 0.0).sum(-1)).sum()
    return loss, ((scores - log_total).exp() - is_label.float()).to(logits.dtype)


_fused = compiled_at_first_use(in_one_pass)


def _add_product(total: Tensor, d_logits: Tensor, hidden: Tensor) -> None:
    """total += d_logits.T @ hidden, accumulated in fp32 also for half-precision factors."""
    if d_logits.dtype == total.dtype:
        total.addmm_(d_logits.T, hidden)
    elif d_logits.is_cuda:
        total += torch.mm(d_logits.T, hidden, out_dtype=torch.float32)
    else:  # on the CPU, torch.mm has no `out_dtype`
        total.addmm_(d_logits.T.float(), hidden.float())
