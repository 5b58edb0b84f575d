"""What a training device can do, by its properties."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from detour.errors import PermanentFailure
from detour.pretraining.device import has_bf16, peak_flops, use_bf16

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("major", "has"), [(7, False), (8, True), (9, True)])
def test_only_boards_that_compute_in_bf16_train_in_it(monkeypatch: pytest.MonkeyPatch, major: int, has: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=major))
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True)
    assert (has_bf16(GPU), use_bf16("auto", GPU), use_bf16("fp32", GPU)) == (has, has, False)
    assert not has_bf16(CPU)


def test_bf16_on_a_device_without_it_is_refused() -> None:
    with pytest.raises(PermanentFailure, match="this device has no bf16"):
        use_bf16("bf16", CPU)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA A100-PCIE-40GB", 312e12),
        ("AMD Instinct MI250X", None),
    ],
)
def test_the_peak_is_that_of_the_board(monkeypatch: pytest.MonkeyPatch, name: str, peak: float | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    assert peak_flops(GPU) == peak
