"""The encoder's layers as one compiled function of tensors: what transformers computes, in the order a GPU likes.

The weights stay in modules of transformers. Written out again, a layer becomes few kernels:

  - it ends with the next layer's norm, so that the stream is read once where it is added to and normed
  - queries, keys, values and both halves of the gate are products of their own: joined, the compiler computes every
    element of their joint gradient once for each part, error function and exponential included
  - a rotation's gradient is the rotation back, in place of what autograd finds for slices and joins
  - it knows no module, so that all layers of a kind share one graph

Matrices are multiplied in the type of autocast, sums and norms are computed in fp32, as autocast has it; the stream
between layers has the type in which the embeddings put it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ModernBertForMaskedLM

from detour.pretraining.compiling import compiled_at_first_use
from detour.pretraining.kernels import HALF, Kernel, opaque_reference
from detour.pretraining.window import UNBOUNDED, Window

MOST_GRAPHS = 64
"""Of the layers of one process: of each window, kernel, type and set of frozen weights there may be two."""


class LayerWeights(NamedTuple):
    """Of one layer, and of the norm that follows it."""

    qkv: Tensor
    attention_output: Tensor
    mlp_norm: Tensor
    mlp_input: Tensor
    mlp_output: Tensor
    next_norm: Tensor


class Pack(NamedTuple):
    """What layers of a kind share in a forward pass."""

    cos: Tensor
    sin: Tensor
    """(tokens, 1, head size) fp32."""
    cu_seqlens: Tensor
    longest: int
    window: Window


def can_be_compiled(model: ModernBertForMaskedLM) -> bool:
    """Whether its layers are what is written here: no bias, no dropout inside, exact GELU, as all published ones."""
    config = model.config
    plain = not (config.attention_bias or config.mlp_bias or config.norm_bias)
    dropout = config.mlp_dropout or config.attention_dropout
    kept = all(isinstance(layer.attn.out_drop, nn.Identity) for layer in model.model.layers)
    return plain and not dropout and kept and config.hidden_activation == "gelu"


def keep_all_graphs() -> None:
    """Behind the eighth graph of a function torch stops to compile it, with a warning alone."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)


def run_layers(
    model: ModernBertForMaskedLM,
    kernel: Kernel,
    hidden: Tensor,
    position_ids: Tensor,
    cu_seqlens: Tensor,
    longest: int,
    *,
    causal: bool,
    any_length: bool = False,
) -> Tensor:
    """All layers and the last norm, (tokens, hidden) of the embeddings in, the same out, in the type of products.

    `any_length`: the number of tokens will change, and what is compiled for the first one is to serve all.
    """
    config, device = model.config, hidden.device.type
    half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    packs = {
        kind: _pack(model, kind, position_ids, cu_seqlens, longest, causal=causal) for kind in set(config.layer_types)
    }
    if any_length:
        _mark_tokens(*(angles for pack in packs.values() for angles in (pack.cos, pack.sin)))
    heads, eps = config.num_attention_heads, config.norm_eps
    with torch.autocast(device, enabled=False):
        normed = hidden.to(half)
        for kind, weights in zip(config.layer_types, _weights(model), strict=True):
            if any_length:
                _mark_tokens(hidden, normed)
            hidden, normed = _compiled(hidden, normed, weights, packs[kind], kernel, heads, eps)
    return normed


def _mark_tokens(*tensors: Tensor) -> None:
    for tensor in tensors:
        torch._dynamo.maybe_mark_dynamic(tensor, 0)


def _pack(
    model: ModernBertForMaskedLM, kind: str, position_ids: Tensor, cu_seqlens: Tensor, longest: int, *, causal: bool
) -> Pack:
    in_fp32 = torch.empty((), device=position_ids.device)
    cos, sin = model.model.rotary_emb(in_fp32, position_ids, kind)
    left = UNBOUNDED if kind == "full_attention" else model.config.sliding_window
    return Pack(cos[0, :, None], sin[0, :, None], cu_seqlens, longest, (left, 0 if causal else left))


def _weights(model: ModernBertForMaskedLM) -> Iterator[LayerWeights]:
    layers = model.model.layers
    next_norms = [*(layer.attn_norm for layer in layers[1:]), model.model.final_norm]
    for layer, next_norm in zip(layers, next_norms, strict=True):
        attention, mlp = layer.attn, layer.mlp
        yield LayerWeights(
            attention.Wqkv.weight,
            attention.Wo.weight,
            layer.mlp_norm.weight,
            mlp.Wi.weight,
            mlp.Wo.weight,
            next_norm.weight,
        )


def layer(
    hidden: Tensor, normed: Tensor, weights: LayerWeights, pack: Pack, kernel: Kernel, heads: int, eps: float
) -> tuple[Tensor, Tensor]:
    """The stream behind one layer, and what the next one reads."""
    tokens, width = normed.shape
    qkv, attention_output, mlp_input, mlp_output = (
        x.to(normed.dtype) for x in (weights.qkv, weights.attention_output, weights.mlp_input, weights.mlp_output)
    )
    q, k, v = (functional.linear(normed, part).view(tokens, heads, -1) for part in qkv.chunk(3))
    q, k = (_Rotated.apply(x, pack.cos, pack.sin) for x in (q, k))  # type: ignore[no-untyped-call]
    attended = _attend(kernel, q, k, v, pack)
    hidden = hidden + functional.linear(attended.reshape(tokens, width), attention_output)
    normed = _norm(hidden, weights.mlp_norm, eps, normed.dtype)
    value, gate = (functional.linear(normed, part) for part in mlp_input.chunk(2))
    hidden = hidden + functional.linear(functional.gelu(value) * gate, mlp_output)
    return hidden, _norm(hidden, weights.next_norm, eps, normed.dtype)


_compiled = compiled_at_first_use(layer)


def _attend(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, pack: Pack) -> Tensor:
    if q.is_cuda and q.dtype in HALF:
        return kernel(q, k, v, pack.cu_seqlens, pack.longest, None, pack.window)
    attended: Tensor = opaque_reference(q, k, v, pack.cu_seqlens, None, *pack.window)
    return attended


def _norm(hidden: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    return functional.layer_norm(hidden.float(), weight.shape, weight, None, eps).to(dtype)


class _Rotated(torch.autograd.Function):
    """Rotary positions; both halves of a head share their angles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(above[0], cos, -sin), None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    rotated = x * cos + torch.cat((-second, first), -1) * sin  # in the type of the angles
    # Behind a cast that casts nothing torch 2.11 loses the gradient: it is zero, without a word.
    return rotated if rotated.dtype == x.dtype else rotated.to(x.dtype)
