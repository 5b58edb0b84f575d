"""From tokens a second to model FLOP utilisation (MFU): useful arithmetic over what the devices could do.

Counted as in the PaLM paper's appendix B: 2 operations a weight and token forward, twice that backward, plus those of
the attention scores. Only what the model needs counts: the positions that are predicted reach the vocabulary matrix, a
causal query sees half of its row on average, a local layer its window. Documents are taken to fill their row, which is
an upper bound where rows hold many short ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORWARD_AND_BACKWARD = 3
"""The backward pass costs twice the forward pass."""
PEAK_FLOPS: Mapping[str, float] = {
    "A100": 312e12,
    "H100": 989e12,
    "H200": 989e12,
    "V100": 125e12,
}
"""Dense half-precision tensor-core peak of the SXM boards, from NVIDIA's data sheets."""


def flops_per_token(config: Any, sequence_length: int, *, causal: bool, predicted: float) -> float:
    """Forward and backward operations a token of a ModernBERT. `predicted`: share of the tokens that have a label."""
    hidden = config.hidden_size
    per_layer = 4 * hidden * hidden + 3 * hidden * config.intermediate_size
    head = predicted * (hidden * hidden + hidden * config.vocab_size)
    weights = 2.0 * (config.num_hidden_layers * per_layer + head)
    scores = sum(
        4.0 * hidden * _seen(kind, config.sliding_window, sequence_length, causal=causal) for kind in config.layer_types
    )
    total: float = FORWARD_AND_BACKWARD * (weights + scores)
    return total


def mfu(tokens_per_s: float, flops_a_token: float, devices: int, peak_flops: float) -> float:
    return tokens_per_s * flops_a_token / (devices * peak_flops)


def peak_flops(device_name: str) -> float | None:
    """By the name that CUDA reports; None for a device that is not listed."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device_name), None)


def _seen(kind: str, half_window: int, length: int, *, causal: bool) -> float:
    """Mean number of tokens that a query attends to."""
    if kind == "full_attention":
        return (length + 1) / 2 if causal else length
    sides = 1 if causal else 2
    return min(float(length), 1.0 + sides * half_window)
