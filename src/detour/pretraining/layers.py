"""The encoder's layers as one compiled function of tensors: the arithmetic of transformers, arranged for a GPU.

The weights stay in transformers' modules. A layer is written out again so that it compiles to few kernels:

  - it ends with the next layer's norm, so the residual stream is read once for the addition and the norm
  - queries, keys, values and both halves of the gate are separate products, whose gradient for their common input is
    one product (`joined_products`)
  - it refers to no module, so all layers of a kind share one graph

As under autocast, matrices are multiplied in autocast's type, and sums and norms are computed in fp32. The residual
stream between layers keeps the type of the embeddings' output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ModernBertForMaskedLM

from detour.pretraining.compiling import compiled_at_first_use
from detour.pretraining.joined_products import gated, queries_keys_values
from detour.pretraining.kernels import HALF, Kernel, opaque_reference
from detour.pretraining.window import UNBOUNDED, Window

MOST_GRAPHS = 64
"""Upper bound on the graphs of one process: two for each window, kernel, type and set of frozen weights."""


class LayerWeights(NamedTuple):
    """The weights of one layer and of the norm that follows it."""

    qkv: Tensor
    attention_output: Tensor
    mlp_norm: Tensor
    mlp_input: Tensor
    mlp_output: Tensor
    next_norm: Tensor


class Pack(NamedTuple):
    """The inputs that all layers of a kind share in one forward pass."""

    cos: Tensor
    sin: Tensor
    """(tokens, 1, head size) fp32."""
    cu_seqlens: Tensor
    longest: int
    window: Window


def can_be_compiled(model: ModernBertForMaskedLM) -> bool:
    """Whether `layer` computes this model's layers: no bias, no inner dropout, exact GELU, as in all published ones."""
    config = model.config
    plain = not (config.attention_bias or config.mlp_bias or config.norm_bias)
    dropout = config.mlp_dropout or config.attention_dropout
    kept = all(isinstance(layer.attn.out_drop, nn.Identity) for layer in model.model.layers)
    return plain and not dropout and kept and config.hidden_activation == "gelu"


def keep_all_graphs() -> None:
    """Raise torch's limit of eight graphs a function, after which it stops compiling with only a warning."""
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
    """All layers and the final norm: (tokens, hidden) embeddings in, the same shape out, in the type of the products.

    With `any_length` the number of tokens may vary, and the layers are compiled once for all lengths.
    """
    config, device = model.config, hidden.device.type
    half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    packs = {
        kind: _pack(model, kind, position_ids, cu_seqlens, longest, causal=causal) for kind in set(config.layer_types)
    }
    if any_length:
        _mark_tokens(*(angles for pack in packs.values() for angles in (pack.cos, pack.sin)))
    with torch.autocast(device, enabled=False):
        normed = hidden.to(half)
        for kind, weights in zip(config.layer_types, _weights(model), strict=True):
            if any_length:
                _mark_tokens(hidden, normed)
            hidden, normed = _compiled(hidden, normed, weights, packs[kind], kernel, config.norm_eps)
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
    hidden: Tensor, normed: Tensor, weights: LayerWeights, pack: Pack, kernel: Kernel, eps: float
) -> tuple[Tensor, Tensor]:
    """The residual stream after one layer, and its norm, which the next layer reads."""
    tokens, width = normed.shape
    qkv, attention_output, mlp_input, mlp_output = (
        x.to(normed.dtype) for x in (weights.qkv, weights.attention_output, weights.mlp_input, weights.mlp_output)
    )
    attended = _attend(kernel, *queries_keys_values(normed, qkv, pack.cos, pack.sin), pack)
    hidden = hidden + functional.linear(attended.reshape(tokens, width), attention_output)
    normed = _norm(hidden, weights.mlp_norm, eps, normed.dtype)
    hidden = hidden + functional.linear(gated(normed, mlp_input), mlp_output)
    return hidden, _norm(hidden, weights.next_norm, eps, normed.dtype)


_compiled = compiled_at_first_use(layer)


def _attend(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, pack: Pack) -> Tensor:
    if q.is_cuda and q.dtype in HALF:
        return kernel(q, k, v, pack.cu_seqlens, pack.longest, None, pack.window)
    attended: Tensor = opaque_reference(q, k, v, pack.cu_seqlens, None, *pack.window)
    return attended


def _norm(hidden: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    return functional.layer_norm(hidden.float(), weight.shape, weight, None, eps).to(dtype)
