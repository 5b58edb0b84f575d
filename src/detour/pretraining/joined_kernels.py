"""Joined gradients as Triton kernels; `joined_products` says why."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK_TOKENS = 32
GATE_TOKENS, GATE_COLUMNS = 8, 128
INVERSE_SQRT_2 = tl.constexpr(0.7071067811865476)
INVERSE_SQRT_2_PI = tl.constexpr(0.3989422804014327)


def join_rotated(d_q: Tensor, d_k: Tensor, d_v: Tensor, cos: Tensor, sin: Tensor, joined: Tensor) -> None:
    """Write the gradients of queries and keys before their rotation, and those of values, into (tokens, 3 * width)."""
    tokens, heads, size = d_q.shape
    inputs = (x.contiguous() for x in (d_q, d_k, d_v, cos, sin))
    half = size // 2
    _join_rotated[(triton.cdiv(tokens, BLOCK_TOKENS),)](
        *inputs, joined, tokens, heads, half, BLOCK_TOKENS, triton.next_power_of_2(half)
    )


def join_gated(gradient: Tensor, value: Tensor, gate: Tensor, joined: Tensor) -> None:
    """Write the gradients of value and gate, of `gelu(value) * gate`, into (tokens, 2 * size)."""
    tokens, size = gradient.shape
    grid = triton.cdiv(tokens, GATE_TOKENS), triton.cdiv(size, GATE_COLUMNS)
    inputs = (x.contiguous() for x in (gradient, value, gate))
    _join_gated[grid](*inputs, joined, tokens, size, GATE_TOKENS, GATE_COLUMNS)


@triton.jit
def _join_rotated(
    d_queries: tl.tensor,
    d_keys: tl.tensor,
    d_values: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    joined: tl.tensor,
    tokens: tl.tensor,
    heads: tl.constexpr,
    half: tl.constexpr,
    block: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """`half` is half of a head's size, `columns` the next power of two."""
    rows = tl.program_id(0) * block + tl.arange(0, block)
    row, column = rows[:, None].to(tl.int64), tl.arange(0, columns)[None, :]
    mask = (row < tokens) & (column < half)
    width = heads * 2 * half
    c = tl.load(cos + row * 2 * half + column, mask=mask, other=0.0)
    s = tl.load(sin + row * 2 * half + column, mask=mask, other=0.0)
    for head in range(heads):
        source, target = row * width + head * 2 * half + column, row * 3 * width + head * 2 * half + column
        _put_unrotated(d_queries + source, joined + target, c, s, mask, half)
        _put_unrotated(d_keys + source, joined + width + target, c, s, mask, half)
        for part in tl.static_range(2):
            value = tl.load(d_values + source + part * half, mask=mask)
            tl.store(joined + 2 * width + target + part * half, value, mask=mask)


@triton.jit
def _put_unrotated(
    source: tl.tensor, target: tl.tensor, c: tl.tensor, s: tl.tensor, mask: tl.tensor, half: tl.constexpr
) -> None:
    first = tl.load(source, mask=mask).to(tl.float32)
    second = tl.load(source + half, mask=mask).to(tl.float32)
    kind = target.dtype.element_ty
    tl.store(target, (first * c + second * s).to(kind), mask=mask)
    tl.store(target + half, (second * c - first * s).to(kind), mask=mask)


@triton.jit
def _join_gated(
    gradients: tl.tensor,
    values: tl.tensor,
    gates: tl.tensor,
    joined: tl.tensor,
    tokens: tl.tensor,
    size: tl.constexpr,
    block: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    rows, column = tl.program_id(0) * block + tl.arange(0, block), tl.program_id(1) * columns + tl.arange(0, columns)
    row, column = rows[:, None].to(tl.int64), column[None, :]
    mask = (row < tokens) & (column < size)
    place = row * size + column
    gradient = tl.load(gradients + place, mask=mask).to(tl.float32)
    value = tl.load(values + place, mask=mask).to(tl.float32)
    gate = tl.load(gates + place, mask=mask).to(tl.float32)
    share = 0.5 + 0.5 * tl.erf(value * INVERSE_SQRT_2)
    slope = share + value * tl.exp(-0.5 * value * value) * INVERSE_SQRT_2_PI
    target = joined + row * 2 * size + column
    kind = joined.dtype.element_ty
    tl.store(target, (gradient * gate * slope).to(kind), mask=mask)
    tl.store(target + size, (gradient * value * share).to(kind), mask=mask)
