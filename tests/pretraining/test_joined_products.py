from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from detour.pretraining.joined_products import gated, queries_keys_values
from tests.pretraining.backends import DEVICES
from tests.pretraining.interpreter import interpreted

TOKENS, HEADS, SIZE = 75, 3, 32
WIDTH, INNER = HEADS * SIZE, 40
HALF_PRECISION = 0.01
"""Upper bound on the relative difference of two bf16 computations that round at different places."""


def test_interpreted_kernels_write_the_same_joined_gradients_as_torch() -> None:
    (errors,) = interpreted("tests.pretraining.interpreted_joins")
    assert len(errors) == 2
    assert max(errors) < 1e-6


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_queries_keys_and_values_are_those_of_separate_products(device: str) -> None:
    angles = randoms(device, (TOKENS, 1, SIZE // 2))[0].repeat(1, 1, 2)
    cos, sin = angles.cos(), angles.sin()

    def separate(x: Tensor, matrix: Tensor) -> Tensor:
        q, k, v = ((x @ third.T).view(TOKENS, HEADS, SIZE) for third in matrix.chunk(3))
        return torch.stack([*(turned(part, cos, sin) for part in (q, k)), v])

    def joined(x: Tensor, matrix: Tensor) -> Tensor:
        return torch.stack(queries_keys_values(x, matrix, cos, sin))

    assert_same(joined, separate, *randoms(device, (TOKENS, WIDTH), (3 * WIDTH, WIDTH)))


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_a_gated_product_are_those_of_separate_products(device: str) -> None:
    def separate(x: Tensor, matrix: Tensor) -> Tensor:
        value, gate = (x @ half.T for half in matrix.chunk(2))
        return functional.gelu(value) * gate

    assert_same(gated, separate, *randoms(device, (TOKENS, WIDTH), (2 * INNER, WIDTH)))


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair (element, element half a head later) rotated by its angle."""
    first, second = x.chunk(2, -1)
    c, s = (angle[..., : SIZE // 2] for angle in (cos, sin))
    return torch.cat((first * c - second * s, second * c + first * s), -1)


def randoms(device: str, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device) for shape in shapes]


def assert_same(actual: Callable[..., Tensor], expected: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Same outputs and gradients, in fp32 and, up to rounding, in bf16."""
    exact = with_gradients(expected, *inputs)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, HALF_PRECISION)):
        found = with_gradients(actual, *(x.to(dtype) for x in inputs))
        for a, e in zip(found, exact, strict=True):
            assert (a.float() - e).norm() <= tolerance * e.norm()


def with_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    output = function(*leaves)
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    return [output.detach(), *torch.autograd.grad((output.float() * weights).sum(), leaves)]
