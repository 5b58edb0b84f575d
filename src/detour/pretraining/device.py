"""Capabilities of the training device."""

from __future__ import annotations

import torch

from detour.config.training import Precision
from detour.errors import PermanentFailure

PEAK_TFLOPS_BF16 = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H200 NVL": 835.0,
    "A100": 312.0,
    "H100": 989.0,
    "H200": 989.0,
    "B200": 2250.0,
}
"""Dense bf16 peak of a board's tensor cores (NVIDIA data sheets), by the first of these that its name contains."""


def use_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether to train in bf16. Raises PermanentFailure if it is requested on a device without it."""
    if precision in ("bf16", "bf16_residual") and not has_bf16(device):
        raise PermanentFailure("training.precision: this device has no bf16: write `auto` or `fp32`")
    return has_bf16(device) and precision != "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether it computes in bf16 itself: torch also supports boards that only emulate it, at a fraction of fp32."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def peak_flops(device: torch.device) -> float | None:
    """Peak FLOP/s for MFU; None for an unlisted device."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * 1e12 for board, peak in PEAK_TFLOPS_BF16.items() if board in name), None)
