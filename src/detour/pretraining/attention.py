"""One set of ModernBERT weights under a causal mask (the detour) or its own bidirectional one, on packed documents.

transformers' `ModernBertForMaskedLM` stays untouched and serves both phases. What differs is what each layer may
attend to, and `is_causal=True` alone does not say it: local layers would keep both halves of their window and
packed documents would see each other. Here every document is a sequence of its own, and in causal mode a local
layer keeps exactly the left half of its window: the token itself and `config.sliding_window` tokens before it.

Backends, by the recipe's word for them:
  sdpa, eager          rows stay apart, (B, 1, T, T) masks are built; any device
  varlen and others    rows are joined into one pack and go through a kernel of `kernels`. Outside CUDA and half
                       precision documents of equal length are batched together, without a mask wherever the window
                       spans them
"""

from __future__ import annotations

from functools import partial
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor
from torch.nn import functional
from transformers import ModernBertForMaskedLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from detour.pretraining.kernels import HALF, KERNELS, Kernel, opaque_reference, reference
from detour.pretraining.layers import can_be_compiled, keep_all_graphs, run_layers
from detour.pretraining.window import UNBOUNDED

MASK_BACKENDS = ("sdpa", "eager")
PACKED = {name: "packed_" + name.replace("flash_attention", "kernel") for name in KERNELS}
"""Kernels' names among transformers' attention functions; it looks for a package of its own behind each `flash`."""


class PackedTokens(TypedDict):
    """`B` rows of `T` tokens, each row filled with whole documents one after the other."""

    input_ids: Tensor
    """(B, T) int64."""
    position_ids: Tensor
    """(B, T) int64, from 0 again in every document."""
    cu_seqlens: Tensor
    """(documents + 1,) int32: where documents start in the B * T joined tokens; the last entry is B * T."""
    longest: NotRequired[int]
    """Tokens of the longest document, where it is known without asking the device."""


def set_backend(model: ModernBertForMaskedLM, name: str) -> None:
    """`sdpa`, `eager` or the name of a kernel."""
    model.set_attn_implementation(PACKED.get(name, name))
    model.attention_backend = name


def backend_of(model: ModernBertForMaskedLM) -> str:
    """transformers keeps it under a private name, hence our own; what it loads by itself is `sdpa`."""
    return getattr(model, "attention_backend", "sdpa")


def compile_layers(model: ModernBertForMaskedLM) -> None:
    """Let torch compile what a step computes. Layers that `layers` does not know are compiled as transformers has them;
    so are those behind a backend with masks, which knows no pack."""
    if can_be_compiled(model) and backend_of(model) in KERNELS:
        keep_all_graphs()
        model.compiled_layers = True
    else:
        for layer in model.model.layers:
            layer.compile()
    model.head.compile(dynamic=True)  # as many tokens as have a label


def encode(model: ModernBertForMaskedLM, tokens: PackedTokens, *, causal: bool) -> Tensor:
    """Last hidden states of all tokens, (B * T, hidden), in the order of the joined rows."""
    input_ids, position_ids, cu_seqlens = tokens["input_ids"], tokens["position_ids"], tokens["cu_seqlens"]
    backend = backend_of(model)
    if backend in MASK_BACKENDS:
        masks = attention_masks(
            position_ids,
            model.config.sliding_window,
            causal=causal,
            additive=model.dtype if backend == "eager" else None,
        )
        hidden = model.model(input_ids=input_ids, position_ids=position_ids, attention_mask=masks)
        return _flat(hidden.last_hidden_state)
    longest = tokens.get("longest", input_ids.shape[1])
    input_ids, position_ids = input_ids.reshape(1, -1), position_ids.reshape(1, -1)
    by_length = input_ids.device.type == "cpu"
    if by_length:
        order, cu_seqlens = _order_by_length(cu_seqlens)
        input_ids, position_ids = input_ids[:, order], position_ids[:, order]
    if getattr(model, "compiled_layers", False):
        embedded = _flat(model.model.embeddings(input_ids))
        flat = run_layers(model, KERNELS[backend], embedded, position_ids, cu_seqlens, longest, causal=causal)
    else:
        hidden = model.model(
            input_ids=input_ids,
            position_ids=position_ids,
            is_causal=causal,
            cu_seq_lens_q=cu_seqlens,
            cu_seq_lens_k=cu_seqlens,
            max_length_q=longest,
            max_length_k=longest,
        )
        flat = _flat(hidden.last_hidden_state)
    return flat[order.argsort()] if by_length else flat


def predict(model: ModernBertForMaskedLM, tokens: PackedTokens, *, causal: bool) -> Tensor:
    """Logits of all tokens, (B * T, vocabulary); training never holds them all, see `cross_entropy`."""
    logits: Tensor = model.decoder(model.head(encode(model, tokens, causal=causal)))
    return logits


def attention_masks(
    position_ids: Tensor, half_window: int, *, causal: bool, additive: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Which token sees which, (B, 1, T, T) a kind of layer, keyed as `config.layer_types` names them.

    `half_window` counts the tokens on each side, the token itself not included. True where a query sees a key;
    or, with `additive`, 0 there and the type's lowest number elsewhere, as eager attention wants it.
    """
    document = (position_ids == 0).cumsum(-1)
    token = torch.arange(position_ids.shape[-1], device=position_ids.device)
    distance = token[:, None] - token[None, :]
    full = document[:, None, :, None] == document[:, None, None, :]
    if causal:
        full = full & (distance >= 0)
    masks = {"full_attention": full, "sliding_attention": full & (distance.abs() <= half_window)}
    if additive is None:
        return masks
    lowest = torch.finfo(additive).min
    return {
        kind: torch.zeros(mask.shape, dtype=additive, device=mask.device).masked_fill(~mask, lowest)
        for kind, mask in masks.items()
    }


def packed_attention(
    kernel: Kernel,
    _module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool = False,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface over packed documents: (B, heads, T, head) in, (B, T, heads, head) out.

    `sliding_window` is transformers' number, one more than the tokens on each side. Outside half precision the exact
    reference stands in for `kernel`. Raises ValueError on dropout, which no variable-length kernel has, and when the
    documents' boundaries are not given.
    """
    if dropout:
        raise ValueError("packed attention has no dropout: set `attention_dropout` to 0 in the model's config")
    if cu_seq_lens_q is None or max_length_q is None:
        raise ValueError("packed attention needs cu_seq_lens_q and max_length_q: call the model through `encode`")
    rows, heads, length, head_size = query.shape
    q, k, v = (x.transpose(1, 2).reshape(rows * length, heads, head_size) for x in (query, key, value))
    left = UNBOUNDED if sliding_window is None else sliding_window - 1
    window = (left, 0 if is_causal else left)
    if _in_half_precision(q):
        joined = _in_autocasts_type(kernel, q, k, v, cu_seq_lens_q, max_length_q, scaling, window)
    elif torch.compiler.is_compiling():
        joined = opaque_reference(q, k, v, cu_seq_lens_q, scaling, *window)
    else:
        joined = reference(q, k, v, cu_seq_lens_q, scaling, window)
    return joined.view(rows, length, heads, head_size), None


def _in_half_precision(q: Tensor) -> bool:
    """Whether a kernel may be used. Outside autocast it would compute in float16, so fp32 does not use it."""
    return q.is_cuda and (q.dtype in HALF or torch.is_autocast_enabled("cuda"))


def _in_autocasts_type(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, *arguments: Any) -> Tensor:
    """What autocast left in full precision, as the rotated queries and keys, goes through its type and back."""
    dtype = q.dtype
    if dtype not in HALF:
        half = torch.get_autocast_dtype("cuda")
        q, k, v = q.to(half), k.to(half), v.to(half)
    return kernel(q, k, v, *arguments).to(dtype)


def _order_by_length(cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """A permutation of the joined tokens that puts documents of equal length side by side, and its cu_seqlens."""
    lengths = cu_seqlens.diff().long()
    documents = lengths.argsort(stable=True)
    sorted_lengths = lengths[documents]
    ends = sorted_lengths.cumsum(0)
    shift = cu_seqlens[:-1].long()[documents] - (ends - sorted_lengths)
    order = torch.arange(int(cu_seqlens[-1]), device=cu_seqlens.device) + shift.repeat_interleave(sorted_lengths)
    return order, functional.pad(ends, (1, 0)).to(torch.int32)


def _flat(hidden: Tensor) -> Tensor:
    return hidden.reshape(-1, hidden.shape[-1])


# Without an entry among transformers' mask functions no mask is built for them, which is what packing wants.
for name, kernel in KERNELS.items():
    ALL_ATTENTION_FUNCTIONS.register(PACKED[name], partial(packed_attention, kernel))
