from __future__ import annotations

import sys
from inspect import signature
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen

from detour.pretraining.kernels import KERNELS, opaque_reference, reference
from detour.pretraining.window import UNBOUNDED, Window

CU_SEQLENS = torch.tensor([0, 40, 41, 48, 138], dtype=torch.int32)
WINDOWS = [(UNBOUNDED, UNBOUNDED), (UNBOUNDED, 0), (8, 8), (8, 0)]
WORDS = {
    "flash_attention_2": ("flash_attn", UNBOUNDED),
    "flash_attention_3": ("flash_attn_interface", UNBOUNDED),
}
"""Where each package has its function, and its value for a window side without limit."""


def random_heads(requires_grad: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(138, 2, 16, generator=generator, requires_grad=requires_grad) for _ in range(3)]


def replace(monkeypatch: pytest.MonkeyPatch, package: str, unbounded: int | None, returns_sums: bool) -> list[Window]:
    """Replace the package's function by its documented meaning; return the windows that it was given."""
    windows: list[Window] = []

    def flash_attn_varlen_func(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int | None, int | None] = (unbounded, unbounded),
    ) -> Tensor | tuple[Tensor, None]:
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        assert max_seqlen_q == max_seqlen_k == 90
        left, right = (UNBOUNDED if side == unbounded else int(side or 0) for side in window_size)
        windows.append((left, right))
        joined = reference(q, k, v, cu_seqlens_q, softmax_scale, (left, 0 if causal else right))
        return (joined, None) if returns_sums else joined

    module = ModuleType(package)
    module.__dict__["flash_attn_varlen_func"] = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, package, module)
    return windows


def replace_flash_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace its two halves, which expect None for a side without limit."""

    def window(causal: bool, left: int | None, right: int | None) -> Window:
        left, right = (UNBOUNDED if side is None else side for side in (left, right))
        return left, 0 if causal else right

    def _flash_attn_fwd(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        softmax_scale: float | None,
        causal: bool,
        window_size_left: int | None,
        window_size_right: int | None,
        return_lse: bool,
    ) -> tuple[Tensor, Tensor | None, None]:
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        assert max_seqlen_q == max_seqlen_k == 90
        seen = window(causal, window_size_left, window_size_right)
        log_sums = torch.full((q.shape[1], q.shape[0]), 7.0) if return_lse else None
        return reference(q, k, v, cu_seqlens_q, softmax_scale, seen), log_sums, None

    def _flash_attn_bwd(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        dout: Tensor,
        lse: Tensor,
        *,
        dq: Tensor,
        dk: Tensor,
        dv: Tensor,
        **named: Any,
    ) -> tuple[Tensor, ...]:
        again, log_sums, _ = _flash_attn_fwd(q, k, v, return_lse=True, **named)
        torch.testing.assert_close(again, out)
        torch.testing.assert_close(log_sums, lse)
        seen = window(named["causal"], named["window_size_left"], named["window_size_right"])
        setting = (named["cu_seqlens_q"], named["softmax_scale"], *seen)
        gradients = torch.ops.detour.packed_reference_backward(dout, q, k, v, *setting)
        for place, gradient in zip((dq, dk, dv), gradients, strict=True):
            place.copy_(gradient)
        return dq, dk, dv

    interface = ModuleType("flash_attn.cute.interface")
    interface.__dict__.update(_flash_attn_fwd=_flash_attn_fwd, _flash_attn_bwd=_flash_attn_bwd)
    for package in ("flash_attn", "flash_attn.cute"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)


def exact(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, _longest: int, scale: float, window: Window) -> Tensor:
    return reference(q, k, v, cu, scale, window)


def by_definition(q: Tensor, k: Tensor, v: Tensor, scale: float, window: Window) -> Tensor:
    """Compute attention pair by pair, from the definition."""
    document = torch.bucketize(torch.arange(138), CU_SEQLENS[1:], right=True)
    distance = torch.arange(138)[:, None] - torch.arange(138)[None, :]
    left, right = (138 if side == UNBOUNDED else side for side in window)
    seen = (document[:, None] == document[None, :]) & (distance <= left) & (distance >= -right)
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, float("-inf")).softmax(-1), v)


@pytest.mark.parametrize("window", [*WINDOWS, (100, 5), (5, 100), (UNBOUNDED, 5)])
def test_the_reference_kernel_equals_the_definition_of_attention(window: Window) -> None:
    q, k, v = random_heads()
    torch.testing.assert_close(reference(q, k, v, CU_SEQLENS, 0.3, window), by_definition(q, k, v, 0.3, window))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", WORDS)
def test_each_package_is_called_as_it_documents(monkeypatch: pytest.MonkeyPatch, name: str, window: Window) -> None:
    package, unbounded = WORDS[name]
    given = replace(monkeypatch, package, unbounded, returns_sums=False)
    q, k, v = random_heads()
    actual = KERNELS[name](q, k, v, CU_SEQLENS, 90, 0.3, window)
    torch.testing.assert_close(actual, reference(q, k, v, CU_SEQLENS, 0.3, window))
    assert given == [window]


@pytest.mark.parametrize("name", WORDS)
def test_log_sums_returned_with_the_output_are_dropped(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    replace(monkeypatch, *WORDS[name], returns_sums=True)
    q, k, v = random_heads()
    actual = KERNELS[name](q, k, v, CU_SEQLENS, 90, None, (8, 0))
    torch.testing.assert_close(actual, reference(q, k, v, CU_SEQLENS, None, (8, 0)))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_flash_attention_4_is_one_graph_node_with_its_own_gradients(
    monkeypatch: pytest.MonkeyPatch, window: Window, compiled: bool
) -> None:
    replace_flash_4(monkeypatch)
    kernel = KERNELS["flash_attention_4"]
    if compiled:
        kernel = torch.compile(kernel, backend="aot_eager", fullgraph=True)
    results = []
    for attention in (kernel, exact):
        inputs = q, k, v = random_heads(requires_grad=True)
        output = attention(q, k, v, CU_SEQLENS, 90, 0.3, window)
        results.append([output.detach(), *torch.autograd.grad(output.square().sum(), inputs)])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_the_kernel_of_torch_is_called_with_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    real = signature(varlen.varlen_attn)

    def varlen_attn(*arguments: object, **named: object) -> Tensor:
        bound = real.bind(*arguments, **named).arguments
        q, k, v = bound["query"], bound["key"], bound["value"]
        assert (bound["max_q"], bound["max_k"]) == (90, 90)
        return reference(q, k, v, bound["cu_seq_q"], bound["scale"], bound["window_size"])

    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    q, k, v = random_heads()
    actual = KERNELS["varlen"](q, k, v, CU_SEQLENS, 90, 0.3, (8, 0))
    torch.testing.assert_close(actual, reference(q, k, v, CU_SEQLENS, 0.3, (8, 0)))


@pytest.mark.parametrize("window", WINDOWS)
def test_the_reference_kernel_has_the_same_gradients_in_a_graph(window: Window) -> None:
    results = []
    for opaque in (False, True):
        inputs = q, k, v = random_heads(requires_grad=True)
        if opaque:
            output = opaque_reference(q, k, v, CU_SEQLENS, None, *window)
        else:
            output = reference(q, k, v, CU_SEQLENS, None, window)
        results.append([output.detach(), *torch.autograd.grad(output.square().sum(), inputs)])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)
