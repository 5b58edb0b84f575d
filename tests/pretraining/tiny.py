"""Models, documents and rows so small that a step takes milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import ModernBertConfig, ModernBertForMaskedLM

from detour.pretraining.attention import PackedTokens, set_backend

VOCABULARY = 211
HALF_WINDOW = 8
"""Tokens on each side that a local layer of the tiny model sees."""


def tiny_config(**changes: Any) -> ModernBertConfig:
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "local_attention": 2 * HALF_WINDOW,
        "global_attn_every_n_layers": 3,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "cls_token_id": 1,
        "eos_token_id": 2,
        "sep_token_id": 2,
    }
    return ModernBertConfig(**(settings | changes))


def tiny_model(backend: str = "sdpa", seed: int = 0, **changes: Any) -> ModernBertForMaskedLM:
    """Return a model with random weights large enough for a leak to show in the logits."""
    torch.manual_seed(seed)
    model = ModernBertForMaskedLM._from_config(tiny_config(**changes))
    set_backend(model, backend)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def random_documents(lengths: Sequence[int], seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in lengths]


def pack(rows: Sequence[Sequence[Tensor]], device: str = "cpu") -> PackedTokens:
    """Lay out documents as rows; all rows must have the same number of tokens."""
    lengths = torch.tensor([len(document) for row in rows for document in row])
    cu_seqlens = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
    return {
        "input_ids": torch.stack([torch.cat(list(row)) for row in rows]).to(device),
        "position_ids": torch.stack([torch.cat([torch.arange(len(document)) for document in row]) for row in rows]).to(
            device
        ),
        "cu_seqlens": cu_seqlens.to(device),
    }
