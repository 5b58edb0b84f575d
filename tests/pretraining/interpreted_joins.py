"""The kernels of joined gradients, interpreted (`interpreter`), against torch: prints errors as a line of JSON."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from detour.pretraining import joined_products

TOKENS, HEADS, SIZE = 75, 3, 48
"""Tokens that do not fill the last block, and heads whose number and size are no powers of two."""


def error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return float((actual - expected).abs().max() / expected.abs().max())


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    d_q, d_k, d_v = (torch.randn(TOKENS, HEADS, SIZE, generator=generator) for _ in range(3))
    angles = torch.randn(TOKENS, 1, SIZE // 2, generator=generator).repeat(1, 1, 2)
    rotated = (d_q, d_k, d_v, angles.cos(), angles.sin())
    gated = tuple(torch.randn(TOKENS, 40, generator=generator) for _ in range(3))
    errors = [
        error(joined_products.join_rotated_on_gpu(*rotated), joined_products.join_rotated(*rotated)),
        error(joined_products.join_gated_on_gpu(*gated), joined_products.join_gated(*gated)),
    ]
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
