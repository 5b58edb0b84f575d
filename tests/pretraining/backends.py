"""Every attention backend that this machine can run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ModernBertForMaskedLM

from tests.pretraining.tiny import tiny_model


@dataclass(frozen=True)
class Backend:
    name: str
    device: str
    half_precision: bool = False
    """Whether it computes in bf16 inside, and so is compared with a larger tolerance."""

    def assert_close(self, actual: Tensor, expected: Tensor, atol: float = 2e-5, rtol: float = 1e-4) -> None:
        if self.half_precision:
            atol = rtol = 5e-2
        torch.testing.assert_close(actual.cpu(), expected.cpu(), atol=atol, rtol=rtol)

    def model(self, **changes: Any) -> ModernBertForMaskedLM:
        return tiny_model(self.name, **changes).to(self.device)


CPU = [Backend(name, "cpu") for name in ("sdpa", "eager", "varlen")]
CUDA = [Backend("sdpa", "cuda"), Backend("eager", "cuda"), Backend("varlen", "cuda", half_precision=True)]
BACKENDS = [pytest.param(backend, id=f"{backend.name}-cpu") for backend in CPU]
if torch.cuda.is_available():
    BACKENDS += [pytest.param(backend, id=f"{backend.name}-cuda", marks=pytest.mark.gpu) for backend in CUDA]
DEVICES = [pytest.param("cpu", id="cpu")]
if torch.cuda.is_available():
    DEVICES += [pytest.param("cuda", id="cuda", marks=pytest.mark.gpu)]
