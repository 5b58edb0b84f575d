"""Run one set of ModernBERT weights causally (the detour) or bidirectionally, on packed documents.

transformers' `ModernBertForMaskedLM` is used unchanged in both phases; only what each layer may attend to differs.
`is_causal=True` is not enough for that: local layers would keep both halves of their window, and packed documents
would see each other. Here every document is its own sequence, and in causal mode a local layer keeps exactly the left
half of its window: the token itself and the `config.sliding_window` tokens before it.

Backends, by the name that recipes use:
  sdpa, eager          rows stay separate, with (B, 1, T, T) masks; any device
  varlen and others    rows are concatenated and go through a kernel of `kernels`. Without CUDA and half precision,
                       documents of equal length are batched, without a mask if the window spans them
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
"""Names of the kernels among transformers' attention functions; for a name with `flash`, it would load a package."""


class PackedTokens(TypedDict):
    """`B` rows of `T` tokens, each filled with consecutive documents."""

    input_ids: Tensor
    """(B, T) int64."""
    position_ids: Tensor
    """(B, T) int64, restarting at 0 in every document."""
    cu_seqlens: Tensor
    """(documents + 1,) int32: where documents start among the B * T concatenated tokens; the last entry is B * T."""
    longest: NotRequired[int]
    """Length of the longest document in tokens, if known without synchronizing with the device."""


def set_backend(model: ModernBertForMaskedLM, name: str) -> None:
    """`sdpa`, `eager` or the name of a kernel."""
    model.set_attn_implementation(PACKED.get(name, name))
    model.attention_backend = name


def backend_of(model: ModernBertForMaskedLM) -> str:
    """The backend set last. transformers stores it under a private name, hence our own; its default is `sdpa`."""
    return getattr(model, "attention_backend", "sdpa")


def compile_layers(model: ModernBertForMaskedLM) -> None:
    """Let torch compile what a step computes.

    Layers that `layers` does not cover are compiled as transformers defines them; so are those of backends with masks.
    """
    if can_be_compiled(model) and backend_of(model) in KERNELS:
        keep_all_graphs()
        model.compiled_layers = True
    else:
        for layer in model.model.layers:
            layer.compile()
    model.head.compile(dynamic=True)  # as many tokens as have a label


def encode(model: ModernBertForMaskedLM, tokens: PackedTokens, *, causal: bool) -> Tensor:
    """Last hidden states of all tokens, (B * T, hidden), in row order."""
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
    """Logits of all tokens, (B * T, vocabulary); training avoids holding them all, see `cross_entropy`."""
    logits: Tensor = model.decoder(model.head(encode(model, tokens, causal=causal)))
    return logits


def attention_masks(
    position_ids: Tensor, half_window: int, *, causal: bool, additive: torch.dtype | None = None
) -> dict[str, Tensor]:
    """A (B, 1, T, T) mask for each kind of layer, keyed by the names in `config.layer_types`.

    `half_window` is the number of tokens on each side, excluding the token itself. True where a query sees a key;
    with `additive`, 0 there and the lowest value of that type elsewhere, as eager attention expects.
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

    `sliding_window` is transformers' value, one more than the tokens on each side. The exact reference replaces
    `kernel` outside half precision. Raises ValueError for dropout, which no variable-length kernel supports, and if
    document boundaries are missing.
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
    """Whether a kernel may be used: fp32 outside autocast must not be rounded to float16 for it."""
    return q.is_cuda and (q.dtype in HALF or torch.is_autocast_enabled("cuda"))


def _in_autocasts_type(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, *arguments: Any) -> Tensor:
    """Cast what autocast left in fp32 (the rotated queries and keys) to its type and the output back."""
    dtype = q.dtype
    if dtype not in HALF:
        half = torch.get_autocast_dtype("cuda")
        q, k, v = q.to(half), k.to(half), v.to(half)
    return kernel(q, k, v, *arguments).to(dtype)


def _order_by_length(cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """A permutation of the tokens that makes documents of equal length adjacent, and its cu_seqlens."""
    lengths = cu_seqlens.diff().long()
    documents = lengths.argsort(stable=True)
    sorted_lengths = lengths[documents]
    ends = sorted_lengths.cumsum(0)
    shift = cu_seqlens[:-1].long()[documents] - (ends - sorted_lengths)
    order = torch.arange(int(cu_seqlens[-1]), device=cu_seqlens.device) + shift.repeat_interleave(sorted_lengths)
    return order, functional.pad(ends, (1, 0)).to(torch.int32)


def _flat(hidden: Tensor) -> Tensor:
    return hidden.reshape(-1, hidden.shape[-1])


# Not registered among transformers' mask functions, so that it builds no mask for them.
for name, kernel in KERNELS.items():
    ALL_ATTENTION_FUNCTIONS.register(PACKED[name], partial(packed_attention, kernel))
