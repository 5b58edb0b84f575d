"""Every attention backend that this machine can run, and flash-attn's interface played in torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers.modeling_flash_attention_utils as flash
from torch import Tensor
from transformers import ModernBertForMaskedLM

from detour.pretraining.attention import varlen_reference
from tests.pretraining.tiny import tiny_model


@dataclass(frozen=True)
class Backend:
    name: str
    device: str
    half_precision: bool = False
    """Computes in bf16 inside: compared with a coarser tolerance."""

    def assert_close(self, actual: Tensor, expected: Tensor, atol: float = 2e-5, rtol: float = 1e-4) -> None:
        if self.half_precision:
            atol = rtol = 5e-2
        torch.testing.assert_close(actual.cpu(), expected.cpu(), atol=atol, rtol=rtol)

    def model(self, **changes: Any) -> ModernBertForMaskedLM:
        if self.name != "flash_attention_2" or self.device == "cuda":
            return tiny_model(self.name, **changes).to(self.device)
        model = tiny_model("sdpa", **changes)
        for config in (model.config, model.model.config):  # set past the check for a GPU
            config._attn_implementation = self.name
        return model


CPU = [Backend(name, "cpu") for name in ("sdpa", "eager", "varlen", "flash_attention_2")]
CUDA = [Backend("sdpa", "cuda"), Backend("eager", "cuda"), Backend("varlen", "cuda", half_precision=True)]
BACKENDS = [pytest.param(backend, id=f"{backend.name}-cpu") for backend in CPU]
if torch.cuda.is_available():
    BACKENDS += [pytest.param(backend, id=f"{backend.name}-cuda", marks=pytest.mark.gpu) for backend in CUDA]
DEVICES = [pytest.param("cpu", id="cpu")]
if torch.cuda.is_available():
    DEVICES += [pytest.param("cuda", id="cuda", marks=pytest.mark.gpu)]

FlashCalls = list[dict[str, Any]]


def play_flash_attention(monkeypatch: pytest.MonkeyPatch) -> FlashCalls:
    """Stand in for flash-attn's variable-length function, with its documented meaning; returns what it was given.

    Any other entry of the package fails the test.
    """
    calls: FlashCalls = []

    def flash_attn_varlen_func(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
        softcap: float = 0.0,
        **_: bool,
    ) -> Tensor:
        assert (dropout_p, softcap) == (0.0, 0.0)
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        assert max_seqlen_q == max_seqlen_k
        calls.append({"causal": causal, "window": tuple(window_size), "longest": max_seqlen_q, "cu": cu_seqlens_q})
        left, right = window_size
        window = (left, 0 if causal else right)
        return varlen_reference(q, k, v, cu_seqlens_q, softmax_scale, window)

    def other_entry(*_: object, **__: object) -> Tensor:
        raise AssertionError("the path for one sequence a row was taken")

    monkeypatch.setattr(flash, "_flash_fn", other_entry)
    monkeypatch.setattr(flash, "_flash_varlen_fn", flash_attn_varlen_func)
    monkeypatch.setattr(flash, "_pad_fn", flash._pad_input)
    monkeypatch.setattr(flash, "_unpad_fn", flash._unpad_input)
    process = flash._lazy_define_process_function(flash_attn_varlen_func)
    monkeypatch.setattr(flash, "_process_flash_kwargs_fn", process)
    monkeypatch.setattr(flash, "_process_with_kvcache_kwargs_fn", dict)
    monkeypatch.setattr(flash, "_loaded_implementation", "flash_attention_2")
    return calls
