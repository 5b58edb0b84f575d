"""Our Triton kernels, interpreted on the CPU, against exact attention: errors as a line of JSON for each window.

A process of its own, since Triton decides at its import whether it interprets, and torch for CPUs comes without it.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from detour.pretraining import layers
from detour.pretraining.kernels import KERNELS
from detour.pretraining.local_attention import document_numbers, packed_angles
from detour.pretraining.window import Window

LENGTHS = (1, 80, 17, 40, 0)
"""Of documents: a token, more than a window, the end inside a block, and a boundary that repeats as padding has it."""
HEADS, SIZE = 2, 32
TOKENS = sum(LENGTHS)
CU_SEQLENS = torch.tensor((0, *LENGTHS)).cumsum(0).to(torch.int32)


def pack(window: Window, *, local: bool) -> layers.Pack:
    position = torch.cat([torch.arange(length) for length in LENGTHS])
    turns = position[:, None] / 100.0 ** (torch.arange(SIZE // 2) / SIZE)
    cos, sin = (torch.cat((x, x), -1) for x in (turns.cos(), turns.sin()))
    angles = packed_angles(cos, sin) if local else None
    documents = document_numbers(CU_SEQLENS, TOKENS) if local else None
    return layers.Pack(cos[:, None], sin[:, None], angles, documents, CU_SEQLENS, max(LENGTHS), window)


def layer(window: Window, *, local: bool) -> list[Tensor]:
    """What one layer puts out, and the gradients of what went in."""
    generator = torch.Generator().manual_seed(0)
    width = HEADS * SIZE
    shapes = [(3 * width, width), (width, width), (width,), (4 * width, width), (width, 2 * width), (width,)]
    weights = layers.LayerWeights(*(torch.randn(shape, generator=generator) * width**-0.5 for shape in shapes))
    hidden, normed = (torch.randn(TOKENS, width, generator=generator) for _ in range(2))
    inputs = [hidden, normed, *weights]
    for tensor in inputs:
        tensor.requires_grad_()
    outputs = layers.layer(hidden, normed, weights, pack(window, local=local), KERNELS["varlen"], HEADS, 1e-5)
    total = torch.stack([(x * torch.linspace(-1, 1, x.numel()).view_as(x)).sum() for x in outputs]).sum()
    return [*(x.detach() for x in outputs), *torch.autograd.grad(total, inputs)]


def main() -> None:
    for window in json.loads(sys.argv[1]):
        pairs = zip(layer(tuple(window), local=True), layer(tuple(window), local=False), strict=True)
        print(json.dumps([float((a - e).abs().max() / e.abs().max()) for a, e in pairs]), flush=True)


if __name__ == "__main__":
    main()
