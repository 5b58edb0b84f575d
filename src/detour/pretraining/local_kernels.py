"""Attention within a narrow window over packed documents, as Triton kernels; `local_attention` launches them.

Flash kernels compute tiles of 128 queries by 128 keys, document by document: three to four times the pairs in a window
of 64 tokens. Here a program handles one head of a block of queries and reads only the blocks of keys that its window
reaches. Blocks cross document boundaries, so document indices are compared. One program computes the gradients of its
block's queries, keys and values: programs share no sums, and equal inputs give equal bits.

The arithmetic is FlashAttention-2's (Dao, 2023): base-2 exponents, and the log-sum-exp of each query's scores saved
for the backward pass. `first` is always the first token of a block, `shift` the offset in tokens of another block.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def forward(
    queries: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
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
    size: tl.constexpr,
) -> None:
    """The window reaches `before` blocks to the left and `behind` to the right of the program's own."""
    head, first = tl.program_id(0), tl.program_id(1) * block
    query = _tile(queries, first, head, tokens, width, block, size)
    document = _numbers(documents, first, tokens, 0, block)
    largest = tl.full([block], float("-inf"), tl.float32)
    total = tl.zeros([block], tl.float32)
    output = tl.zeros([block, size], tl.float32)
    # The own block comes first: every query sees itself, so `largest` is finite from then on.
    for index in tl.static_range(0, before + behind + 1):
        shift = (index if index <= behind else behind - index) * block
        key = _tile(keys, first + shift, head, tokens, width, block, size)
        value = _tile(values, first + shift, head, tokens, width, block, size)
        seen = _seen(document, _numbers(documents, first + shift, tokens, 0, block), shift, left, right, block)
        scores = tl.where(seen, tl.dot(query, tl.trans(key)) * scale_log2, float("-inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        shares = tl.exp2(scores - larger[:, None])
        kept = tl.exp2(largest - larger)
        total = total * kept + tl.sum(shares, 1)
        output = output * kept[:, None] + tl.dot(shares.to(value.dtype), value)
        largest = larger
    _put(outputs, output / total[:, None], first, head, tokens, width, block, size)
    rows = first + tl.arange(0, block)
    tl.store(log_sums + head * tokens + rows, largest + tl.log2(total), mask=rows < tokens)


@triton.jit
def backward(
    queries: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    documents: tl.tensor,
    outputs: tl.tensor,
    log_sums: tl.tensor,
    gradients: tl.tensor,
    d_queries: tl.tensor,
    d_keys: tl.tensor,
    d_values: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    scale_log2: tl.tensor,
    scale: tl.tensor,
    left: tl.constexpr,
    right: tl.constexpr,
    before: tl.constexpr,
    behind: tl.constexpr,
    block: tl.constexpr,
    size: tl.constexpr,
) -> None:
    head, first = tl.program_id(0), tl.program_id(1) * block
    log_sums += head * tokens
    document = _numbers(documents, first, tokens, 0, block)
    log_sum = _numbers(log_sums, first, tokens, float("inf"), block)
    query = _tile(queries, first, head, tokens, width, block, size)
    gradient = _tile(gradients, first, head, tokens, width, block, size)
    mean = _product(gradient, _tile(outputs, first, head, tokens, width, block, size))

    # This block's queries, keys of other blocks.
    d_query = tl.zeros([block, size], tl.float32)
    for index in tl.static_range(0, before + behind):
        shift = (index + 1 if index < behind else behind - index - 1) * block
        other_key = _tile(keys, first + shift, head, tokens, width, block, size)
        other_value = _tile(values, first + shift, head, tokens, width, block, size)
        seen = _seen(document, _numbers(documents, first + shift, tokens, 0, block), shift, left, right, block)
        scores = tl.dot(query, tl.trans(other_key)) * scale_log2
        shares = tl.where(seen, tl.exp2(scores - log_sum[:, None]), 0.0)
        d_scores = shares * (tl.dot(gradient, tl.trans(other_value)) - mean[:, None])
        d_query += tl.dot(d_scores.to(query.dtype), other_key)

    # Within the block.
    key = _tile(keys, first, head, tokens, width, block, size)
    value = _tile(values, first, head, tokens, width, block, size)
    scores = tl.dot(query, tl.trans(key)) * scale_log2
    seen = _seen(document, document, 0, left, right, block)
    shares = tl.where(seen, tl.exp2(scores - log_sum[:, None]), 0.0)
    d_scores = (shares * (tl.dot(gradient, tl.trans(value)) - mean[:, None])).to(query.dtype)
    d_query += tl.dot(d_scores, key)
    _put(d_queries, d_query * scale, first, head, tokens, width, block, size)
    d_key = tl.dot(tl.trans(d_scores), query)
    d_value = tl.dot(tl.trans(shares.to(query.dtype)), gradient)

    # This block's keys, queries of other blocks; here scores are (keys, queries) and the window is mirrored.
    for index in tl.static_range(0, before + behind):
        shift = (index + 1 if index < before else before - index - 1) * block
        other_query = _tile(queries, first + shift, head, tokens, width, block, size)
        other_gradient = _tile(gradients, first + shift, head, tokens, width, block, size)
        other_mean = _product(other_gradient, _tile(outputs, first + shift, head, tokens, width, block, size))
        other_log_sum = _numbers(log_sums, first + shift, tokens, float("inf"), block)
        seen = _seen(document, _numbers(documents, first + shift, tokens, 0, block), shift, right, left, block)
        scores = tl.dot(key, tl.trans(other_query)) * scale_log2
        shares = tl.where(seen, tl.exp2(scores - other_log_sum[None, :]), 0.0)
        d_scores = shares * (tl.dot(value, tl.trans(other_gradient)) - other_mean[None, :])
        d_key += tl.dot(d_scores.to(query.dtype), other_query)
        d_value += tl.dot(shares.to(query.dtype), other_gradient)
    _put(d_keys, d_key * scale, first, head, tokens, width, block, size)
    _put(d_values, d_value, first, head, tokens, width, block, size)


@triton.jit
def _tile(
    start: tl.tensor,
    first: tl.tensor,
    head: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    block: tl.constexpr,
    size: tl.constexpr,
) -> tl.tensor:
    """Load (block, size) of one head; 0 for tokens out of range."""
    rows = first + tl.arange(0, block)
    places = rows[:, None].to(tl.int64) * width + head * size + tl.arange(0, size)[None, :]
    return tl.load(start + places, mask=((rows >= 0) & (rows < tokens))[:, None], other=0.0)


@triton.jit
def _put(
    start: tl.tensor,
    tile: tl.tensor,
    first: tl.tensor,
    head: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    block: tl.constexpr,
    size: tl.constexpr,
) -> None:
    rows = first + tl.arange(0, block)
    places = rows[:, None].to(tl.int64) * width + head * size + tl.arange(0, size)[None, :]
    tl.store(start + places, tile.to(start.dtype.element_ty), mask=(rows < tokens)[:, None])


@triton.jit
def _numbers(
    start: tl.tensor, first: tl.tensor, tokens: tl.tensor, missing: tl.constexpr, block: tl.constexpr
) -> tl.tensor:
    """Load one number per token."""
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
    """(block, block): whether a token of this block sees one of the other."""
    index = tl.arange(0, block)
    distance = index[:, None] - index[None, :] - shift
    return (document[:, None] == other_document[None, :]) & (distance <= left) & (distance >= -right)


@triton.jit
def _product(gradient: tl.tensor, output: tl.tensor) -> tl.tensor:
    """Row-wise dot product, FlashAttention's delta: the mean of a query's score gradients weighted by its shares."""
    return tl.sum(gradient.to(tl.float32) * output.to(tl.float32), 1)
