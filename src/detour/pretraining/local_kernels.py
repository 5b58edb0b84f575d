"""Rotary attention within a narrow window over packed documents, as Triton kernels; `local_attention` starts them.

Flash kernels compute tiles of 128 queries by 128 keys, document by document: three to four times the pairs that a
window of 64 tokens holds. Here a program takes one head of a block of queries, and of the keys those blocks alone that
its window reaches. Blocks run across documents, which are told apart by their numbers. One program makes the gradients
of its block's queries, keys and values, so nothing is added up between programs and equal inputs give equal bits.

Queries and keys are rotated when they are read and their gradients back before they are written: apart, that reads and
writes them twice more. A head is held as two halves, which share their angles.

The arithmetic is FlashAttention's (Dao, 2023): exponents to the base of 2, and the log-sum of each query's scores kept
for the way back. `first` is always a block's first token, `shift` how many tokens another block lies behind it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def forward(
    qkv: tl.tensor,
    angles: tl.tensor,
    documents: tl.tensor,
    outputs: tl.tensor,
    log_sums: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    scale_log2: tl.tensor,
    left: tl.constexpr,
    right: tl.constexpr,
    before: tl.constexpr,
    behind: tl.constexpr,
    block: tl.constexpr,
    half: tl.constexpr,
) -> None:
    """Its window reaches `before` blocks to the left and `behind` to the right of a program's own."""
    head, first = tl.program_id(0), tl.program_id(1) * block
    queries = qkv + head * 2 * half
    keys = queries + width
    values = keys + width
    document = _numbers(documents, first, tokens, 0, block)
    query_a, query_b = _rotated(queries, angles, first, tokens, 3 * width, block, half)
    largest = tl.full([block], float("-inf"), tl.float32)
    total = tl.zeros([block], tl.float32)
    output = tl.zeros([block, 2 * half], tl.float32)
    # Its own block comes first: each query sees itself at least, so `largest` is finite from there on.
    for index in tl.static_range(0, before + behind + 1):
        shift = (index if index <= behind else behind - index) * block
        key_a, key_b = _rotated(keys, angles, first + shift, tokens, 3 * width, block, half)
        value = _tile(values, first + shift, tokens, 3 * width, block, 2 * half)
        seen = _seen(document, _numbers(documents, first + shift, tokens, 0, block), shift, left, right, block)
        scores = tl.dot(query_b, tl.trans(key_b), tl.dot(query_a, tl.trans(key_a))) * scale_log2
        scores = tl.where(seen, scores, float("-inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        shares = tl.exp2(scores - larger[:, None])
        kept = tl.exp2(largest - larger)
        total = total * kept + tl.sum(shares, 1)
        output = output * kept[:, None] + tl.dot(shares.to(value.dtype), value)
        largest = larger
    _put(outputs + head * 2 * half, output / total[:, None], first, tokens, width, block, 2 * half)
    rows = first + tl.arange(0, block)
    tl.store(log_sums + head * tokens + rows, largest + tl.log2(total), mask=rows < tokens)


@triton.jit
def backward(
    qkv: tl.tensor,
    angles: tl.tensor,
    documents: tl.tensor,
    outputs: tl.tensor,
    log_sums: tl.tensor,
    gradients: tl.tensor,
    d_qkv: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    scale_log2: tl.tensor,
    scale: tl.tensor,
    left: tl.constexpr,
    right: tl.constexpr,
    before: tl.constexpr,
    behind: tl.constexpr,
    block: tl.constexpr,
    half: tl.constexpr,
) -> None:
    head, first = tl.program_id(0), tl.program_id(1) * block
    queries = qkv + head * 2 * half
    keys = queries + width
    values = keys + width
    outputs += head * 2 * half
    gradients += head * 2 * half
    d_qkv += head * 2 * half
    log_sums += head * tokens
    document = _numbers(documents, first, tokens, 0, block)
    log_sum = _numbers(log_sums, first, tokens, float("inf"), block)
    query_a, query_b = _rotated(queries, angles, first, tokens, 3 * width, block, half)
    gradient = _tile(gradients, first, tokens, width, block, 2 * half)
    mean = _product(gradient, _tile(outputs, first, tokens, width, block, 2 * half))

    # What its queries see in other blocks.
    d_query_a = tl.zeros([block, half], tl.float32)
    d_query_b = tl.zeros([block, half], tl.float32)
    for index in tl.static_range(0, before + behind):
        shift = (index + 1 if index < behind else behind - index - 1) * block
        other_a, other_b = _rotated(keys, angles, first + shift, tokens, 3 * width, block, half)
        other_value = _tile(values, first + shift, tokens, 3 * width, block, 2 * half)
        seen = _seen(document, _numbers(documents, first + shift, tokens, 0, block), shift, left, right, block)
        scores = tl.dot(query_b, tl.trans(other_b), tl.dot(query_a, tl.trans(other_a))) * scale_log2
        shares = tl.where(seen, tl.exp2(scores - log_sum[:, None]), 0.0)
        d_scores = (shares * (tl.dot(gradient, tl.trans(other_value)) - mean[:, None])).to(gradient.dtype)
        d_query_a = tl.dot(d_scores, other_a, d_query_a)
        d_query_b = tl.dot(d_scores, other_b, d_query_b)

    # Within its own block.
    key_a, key_b = _rotated(keys, angles, first, tokens, 3 * width, block, half)
    value = _tile(values, first, tokens, 3 * width, block, 2 * half)
    scores = tl.dot(query_b, tl.trans(key_b), tl.dot(query_a, tl.trans(key_a))) * scale_log2
    seen = _seen(document, document, 0, left, right, block)
    shares = tl.where(seen, tl.exp2(scores - log_sum[:, None]), 0.0)
    d_scores = (shares * (tl.dot(gradient, tl.trans(value)) - mean[:, None])).to(gradient.dtype)
    d_query_a = tl.dot(d_scores, key_a, d_query_a)
    d_query_b = tl.dot(d_scores, key_b, d_query_b)
    _put_rotated_back(d_qkv, d_query_a * scale, d_query_b * scale, angles, first, tokens, 3 * width, block, half)
    d_key_a = tl.dot(tl.trans(d_scores), query_a)
    d_key_b = tl.dot(tl.trans(d_scores), query_b)
    d_value = tl.dot(tl.trans(shares.to(gradient.dtype)), gradient)

    # What queries of other blocks see in it; scores are (keys, queries) here, and windows the other way round.
    for index in tl.static_range(0, before + behind):
        shift = (index + 1 if index < before else before - index - 1) * block
        other_a, other_b = _rotated(queries, angles, first + shift, tokens, 3 * width, block, half)
        other_gradient = _tile(gradients, first + shift, tokens, width, block, 2 * half)
        other_mean = _product(other_gradient, _tile(outputs, first + shift, tokens, width, block, 2 * half))
        other_log_sum = _numbers(log_sums, first + shift, tokens, float("inf"), block)
        seen = _seen(document, _numbers(documents, first + shift, tokens, 0, block), shift, right, left, block)
        scores = tl.dot(key_b, tl.trans(other_b), tl.dot(key_a, tl.trans(other_a))) * scale_log2
        shares = tl.where(seen, tl.exp2(scores - other_log_sum[None, :]), 0.0)
        d_scores = (shares * (tl.dot(value, tl.trans(other_gradient)) - other_mean[None, :])).to(gradient.dtype)
        d_key_a = tl.dot(d_scores, other_a, d_key_a)
        d_key_b = tl.dot(d_scores, other_b, d_key_b)
        d_value = tl.dot(shares.to(gradient.dtype), other_gradient, d_value)
    d_keys = d_qkv + width
    _put_rotated_back(d_keys, d_key_a * scale, d_key_b * scale, angles, first, tokens, 3 * width, block, half)
    _put(d_keys + width, d_value, first, tokens, 3 * width, block, 2 * half)


@triton.jit
def _rotated(
    start: tl.tensor,
    angles: tl.tensor,
    first: tl.tensor,
    tokens: tl.tensor,
    stride: tl.tensor,
    block: tl.constexpr,
    half: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Both halves of a head."""
    cos, sin = _angles(angles, first, tokens, block, half)
    a = _tile(start, first, tokens, stride, block, half)
    b = _tile(start + half, first, tokens, stride, block, half)
    return (a * cos - b * sin).to(a.dtype), (b * cos + a * sin).to(a.dtype)


@triton.jit
def _put_rotated_back(
    start: tl.tensor,
    a: tl.tensor,
    b: tl.tensor,
    angles: tl.tensor,
    first: tl.tensor,
    tokens: tl.tensor,
    stride: tl.tensor,
    block: tl.constexpr,
    half: tl.constexpr,
) -> None:
    cos, sin = _angles(angles, first, tokens, block, half)
    _put(start, a * cos + b * sin, first, tokens, stride, block, half)
    _put(start + half, b * cos - a * sin, first, tokens, stride, block, half)


@triton.jit
def _angles(
    angles: tl.tensor, first: tl.tensor, tokens: tl.tensor, block: tl.constexpr, half: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    cos = _tile(angles, first, tokens, 2 * half, block, half)
    sin = _tile(angles + half, first, tokens, 2 * half, block, half)
    return cos.to(tl.float32), sin.to(tl.float32)


@triton.jit
def _tile(
    start: tl.tensor,
    first: tl.tensor,
    tokens: tl.tensor,
    stride: tl.tensor,
    block: tl.constexpr,
    columns: tl.constexpr,
) -> tl.tensor:
    """(block, columns); 0 for tokens that do not exist."""
    rows = first + tl.arange(0, block)
    places = rows[:, None].to(tl.int64) * stride + tl.arange(0, columns)[None, :]
    return tl.load(start + places, mask=((rows >= 0) & (rows < tokens))[:, None], other=0.0)


@triton.jit
def _put(
    start: tl.tensor,
    tile: tl.tensor,
    first: tl.tensor,
    tokens: tl.tensor,
    stride: tl.tensor,
    block: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    rows = first + tl.arange(0, block)
    places = rows[:, None].to(tl.int64) * stride + tl.arange(0, columns)[None, :]
    tl.store(start + places, tile.to(start.dtype.element_ty), mask=(rows < tokens)[:, None])


@triton.jit
def _numbers(
    start: tl.tensor, first: tl.tensor, tokens: tl.tensor, missing: tl.constexpr, block: tl.constexpr
) -> tl.tensor:
    """One a token."""
    rows = first + tl.arange(0, block)
    return tl.load(start + rows, mask=(rows >= 0) & (rows < tokens), other=missing)


@triton.jit
def _seen(
    document: tl.tensor,
    other_document: tl.tensor,
    shift: tl.tensor,
    left: tl.constexpr,
    right: tl.constexpr,
    block: tl.constexpr,
) -> tl.tensor:
    """(block, block): whether a token sees one of another block."""
    index = tl.arange(0, block)
    distance = index[:, None] - index[None, :] - shift
    return (document[:, None] == other_document[None, :]) & (distance <= left) & (distance >= -right)


@triton.jit
def _product(gradient: tl.tensor, output: tl.tensor) -> tl.tensor:
    """Of each query; it is the mean of its scores' gradients over its shares."""
    return tl.sum(gradient.to(tl.float32) * output.to(tl.float32), 1)
