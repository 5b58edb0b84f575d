"""Several products of one input whose gradient is one product.

Autograd multiplies the gradient of each part by its own matrix and adds the results: three products for queries, keys
and values, with a copy of the sum so far before each addition. Here the parts' gradients are written side by side into
one tensor, which is multiplied once by the joined matrix. The gradients of the matrices stay separate products, because
cuBLAS takes up to a fifth longer for a joined one.

On CUDA our own kernels write the joined gradients (`joined_kernels`): torch's compiler computes every element of a
joined tensor once per part, including error function and exponential, and takes three to five times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def queries_keys_values(x: Tensor, matrix: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys with rotary position embedding, and values: (tokens, heads, head size) each.

    `x` is (tokens, width), `matrix` (3 * width, width), `cos` and `sin` (tokens, 1, head size), with the same angles in
    both halves of a head.
    """
    q, k, v = _QueriesKeysValues.apply(x, matrix, cos, sin)  # type: ignore[no-untyped-call]
    return q, k, v


def gated(x: Tensor, matrix: Tensor) -> Tensor:
    """`gelu(value) * gate`, (tokens, size); value and gate are the products of `x` and the halves of `matrix`,
    (2 * size, width)."""
    output: Tensor = _Gated.apply(x, matrix)  # type: ignore[no-untyped-call]
    return output


class _QueriesKeysValues(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, matrix, cos, sin)
        q, k, v = (functional.linear(x, third).view(len(x), -1, cos.shape[-1]) for third in matrix.chunk(3))
        return _rotate(q, cos, sin), _rotate(k, cos, sin), v

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, matrix, cos, sin = ctx.saved_tensors
        d_q, d_k, d_v = above
        join = join_rotated_on_gpu if x.is_cuda else join_rotated
        joined = join(d_q, d_k, d_v, cos, sin)
        return joined @ matrix, _matrix_gradient(joined, x, 3), None, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor) -> Tensor:
        value, gate = (functional.linear(x, half) for half in matrix.chunk(2))
        ctx.save_for_backward(x, matrix, value, gate)
        return functional.gelu(value) * gate

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor]:
        x, matrix, value, gate = ctx.saved_tensors
        join = join_gated_on_gpu if x.is_cuda else join_gated
        joined = join(above[0], value, gate)
        return joined @ matrix, _matrix_gradient(joined, x, 2)


def _matrix_gradient(joined: Tensor, x: Tensor, parts: int) -> Tensor:
    return torch.cat([part.mT @ x for part in joined.chunk(parts, -1)])


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    rotated = x * cos + torch.cat((-second, first), -1) * sin  # in the type of the angles
    # After a cast that changes nothing, torch 2.11 silently loses the gradient: it becomes zero.
    return rotated if rotated.dtype == x.dtype else rotated.to(x.dtype)


def join_rotated(d_q: Tensor, d_k: Tensor, d_v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(tokens, 3 * width): the gradient of a rotation is the inverse rotation."""
    parts = (_rotate(d_q, cos, -sin), _rotate(d_k, cos, -sin), d_v)
    return torch.cat([part.flatten(1) for part in parts], -1)


def join_gated(gradient: Tensor, value: Tensor, gate: Tensor) -> Tensor:
    """(tokens, 2 * size)."""
    d_value = torch.ops.aten.gelu_backward(gradient * gate, value)
    return torch.cat((d_value, gradient * functional.gelu(value)), -1)


@torch.library.custom_op("detour::join_rotated", mutates_args=())
def join_rotated_on_gpu(d_q: Tensor, d_k: Tensor, d_v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    from detour.pretraining import joined_kernels  # needs Triton

    joined = _empty_thirds(d_q)
    joined_kernels.join_rotated(d_q, d_k, d_v, cos, sin, joined)
    return joined


@torch.library.custom_op("detour::join_gated", mutates_args=())
def join_gated_on_gpu(gradient: Tensor, value: Tensor, gate: Tensor) -> Tensor:
    from detour.pretraining import joined_kernels  # needs Triton

    joined = _empty_halves(gradient)
    joined_kernels.join_gated(gradient, value, gate, joined)
    return joined


def _empty_thirds(d_q: Tensor, *_: Tensor) -> Tensor:
    tokens, heads, size = d_q.shape
    return d_q.new_empty(tokens, 3 * heads * size)


def _empty_halves(gradient: Tensor, *_: Tensor) -> Tensor:
    tokens, size = gradient.shape
    return gradient.new_empty(tokens, 2 * size)


join_rotated_on_gpu.register_fake(_empty_thirds)
join_gated_on_gpu.register_fake(_empty_halves)
