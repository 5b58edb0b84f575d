"""Our attention kernels, interpreted (`interpreter`), against exact attention: prints errors as a line of JSON for each
window."""

from __future__ import annotations

import json
import sys

import torch
from torch import Tensor

from detour.pretraining.kernels import KERNELS, LOCAL, Kernel, reference
from detour.pretraining.window import Window

LENGTHS = (1, 80, 17, 40, 0)
"""Lengths of documents: one token, more than a window, an end inside a block, and a repeated boundary (padding)."""
HEADS, SIZE = 2, 32
TOKENS = sum(LENGTHS)
CU_SEQLENS = torch.tensor((0, *LENGTHS)).cumsum(0).to(torch.int32)


def attended(kernel: Kernel, window: Window) -> list[Tensor]:
    """Return outputs, and the gradients of queries, keys and values."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(TOKENS, HEADS, SIZE, generator=generator, requires_grad=True) for _ in range(3))
    output = kernel(q, k, v, CU_SEQLENS, max(LENGTHS), None, window)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), (q, k, v))]


def exact(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, _longest: int, scale: float | None, window: Window
) -> Tensor:
    return reference(q, k, v, cu_seqlens, scale, window)


def main() -> None:
    for window in json.loads(sys.argv[1]):
        pairs = zip(attended(KERNELS["varlen" + LOCAL], tuple(window)), attended(exact, tuple(window)), strict=True)
        print(json.dumps([float((a - e).abs().max() / e.abs().max()) for a, e in pairs]), flush=True)


if __name__ == "__main__":
    main()
