from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from detour.pretraining.cross_entropy import in_one_pass, linear_cross_entropy, softmax_gradient

TOKENS, WORDS, WIDTH = 4096, 1024, 128


def problem(tokens: int = TOKENS, spread: float = 0.02) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return hidden states, weights and bias in a model's range, and labels with realistic frequencies."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, WIDTH, generator=generator)
    weight = torch.randn(WORDS, WIDTH, generator=generator) * spread
    bias = torch.randn(WORDS, generator=generator) * 0.1
    labels = (torch.rand(tokens, generator=generator) ** 3 * WORDS).long()
    return hidden, weight, bias, labels


def exact(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> list[Tensor]:
    """Return loss and the three gradients, in double precision without chunks."""
    leaves = [x.double().requires_grad_() for x in (hidden, weight, bias)]
    loss = functional.cross_entropy(functional.linear(*leaves), labels)
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def ours(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, pieces: int, bf16: bool) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in (hidden, weight, bias)]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = linear_cross_entropy(leaves[0], leaves[1], leaves[2], labels, pieces=pieces)
    assert loss.dtype == torch.float32
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).norm() / expected.norm())


def test_the_loss_is_nearly_exact_in_bf16_and_many_chunks() -> None:
    arguments = problem()
    assert relative_error(ours(*arguments, pieces=128, bf16=True)[0], exact(*arguments)[0]) < 1e-4


@pytest.mark.parametrize("factor", [1, 2, 3], ids=["hidden", "weight", "bias"])
def test_gradients_are_nearly_exact_in_bf16_and_many_chunks(factor: int) -> None:
    arguments = problem()
    assert relative_error(ours(*arguments, pieces=128, bf16=True)[factor], exact(*arguments)[factor]) < 3e-3


def test_chunking_adds_no_error() -> None:
    arguments = problem()
    expected = exact(*arguments)[2]
    few, many = (relative_error(ours(*arguments, pieces=pieces, bf16=True)[2], expected) for pieces in (1, 256))
    assert many < 1.05 * few


@settings(max_examples=25, deadline=None)
@given(tokens=st.integers(1, 200), pieces=st.integers(1, 300), scale=st.floats(0.01, 30.0))
def test_in_fp32_the_loss_equals_its_definition_for_any_chunk_size(tokens: int, pieces: int, scale: float) -> None:
    arguments = problem(tokens, spread=scale / WIDTH**0.5)
    for actual, expected in zip(ours(*arguments, pieces=pieces, bf16=False), exact(*arguments), strict=True):
        torch.testing.assert_close(actual.double(), expected, atol=5e-6, rtol=2e-4)


@pytest.mark.parametrize("bf16", [True, False])
def test_the_loss_without_gradients_equals_the_loss_with_gradients(bf16: bool) -> None:
    hidden, weight, bias, labels = problem(500)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        value = linear_cross_entropy(hidden, weight, bias, labels)
    torch.testing.assert_close(value, ours(hidden, weight, bias, labels, 1, bf16)[0], atol=1e-6, rtol=1e-6)


def test_only_trained_parameters_get_a_gradient() -> None:
    hidden, weight, _, labels = problem(100)
    hidden.requires_grad_()
    (gradient,) = torch.autograd.grad(linear_cross_entropy(hidden, weight, None, labels), hidden)
    expected = exact(hidden.detach(), weight, torch.zeros(WORDS), labels)[1]
    torch.testing.assert_close(gradient.double(), expected, atol=1e-6, rtol=1e-4)


def test_an_upstream_gradient_scales_all_gradients() -> None:
    arguments = problem(100)
    leaves = [x.clone().requires_grad_() for x in arguments[:3]]
    loss = linear_cross_entropy(leaves[0], leaves[1], leaves[2], arguments[3])
    gradients = torch.autograd.grad(loss * -2.5, leaves)
    for gradient, expected in zip(gradients, exact(*arguments)[1:], strict=True):
        torch.testing.assert_close(gradient.double(), expected * -2.5, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_single_pass_of_the_gpu_computes_the_same(dtype: torch.dtype) -> None:
    hidden, weight, bias, labels = problem(50, spread=1.0)
    logits = functional.linear(hidden, weight, bias).to(dtype)
    expected = softmax_gradient(logits.clone(), labels)
    for actual, value in zip(in_one_pass(logits, labels), expected, strict=True):
        torch.testing.assert_close(actual, value, atol=1e-5, rtol=1e-4 if dtype == torch.float32 else 8e-3)


def test_a_confident_prediction_keeps_its_small_gradient_in_bf16() -> None:
    """If 0.998 were rounded to 1 before the label is subtracted, the gradient would be 0."""
    logits = torch.zeros(1, 4)
    logits[0, 2] = 7.3
    _, gradient = softmax_gradient(logits.bfloat16(), torch.tensor([2]))
    share = float(torch.softmax(logits.bfloat16().double(), -1)[0, 2])
    assert float(gradient[0, 2]) == pytest.approx(share - 1, rel=5e-3)
