from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import ModernBertForMaskedLM

from detour.pretraining import layers
from detour.pretraining.attention import compile_layers, encode
from detour.pretraining.layers import can_be_compiled
from detour.pretraining.residual import set_bf16_stream
from detour.pretraining.start import set_attention_output_dropout
from tests.pretraining.tiny import pack, random_documents, tiny_model

TOKENS = pack([random_documents((40, 1, 23, 36), 1), random_documents((100,), 2)])


def encoded(model: ModernBertForMaskedLM, *, causal: bool, bf16: bool = False) -> list[Tensor]:
    """Return the last hidden states, and the gradients of all weights for a sum that no symmetry makes 0."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = encode(model, TOKENS, causal=causal).float()
    torch.autograd.backward((hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum())
    return [hidden.detach(), *(p.grad.clone() for p in model.model.parameters() if p.grad is not None)]


@pytest.fixture(params=["aot_eager", None], ids=["traced", "called"])
def without_inductor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without inductor, which takes minutes and is tested by torch."""
    called = layers.layer if request.param is None else torch.compile(layers.layer, backend=request.param)
    monkeypatch.setattr(layers, "_compiled", called)


@pytest.mark.usefixtures("without_inductor")
@pytest.mark.parametrize("causal", [True, False])
def test_layers_compute_the_same_as_those_of_transformers(causal: bool) -> None:
    model = tiny_model("varlen").train()
    expected = encoded(model, causal=causal)
    compile_layers(model)
    actual = encoded(model, causal=causal)
    assert len(actual) == 1 + len(list(model.model.parameters()))
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, atol=1e-4 * float(e.abs().max()), rtol=1e-4)


@pytest.mark.usefixtures("without_inductor")
@pytest.mark.parametrize("bf16_stream", [False, True])
def test_under_autocast_layers_are_as_close_to_fp32_as_those_of_transformers(bf16_stream: bool) -> None:
    """Their distance from the states of transformers is at most the distance of those from fp32."""
    exact, *_ = encoded(tiny_model("varlen").train(), causal=True)
    states = []
    for compiled in (False, True):
        model = tiny_model("varlen").train()
        if bf16_stream:
            set_bf16_stream(model)
        if compiled:
            compile_layers(model)
        states.append(encoded(model, causal=True, bf16=True)[0])
    by_transformers, by_layers = states
    assert (by_layers - by_transformers).norm() < 2 * (by_transformers - exact).norm()
    assert (by_layers - exact).norm() < 1.2 * (by_transformers - exact).norm()


def test_every_kind_of_layer_in_a_process_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs hold for numbers of any size except a norm's epsilon, so different ones give different kinds of layer."""
    ran: list[torch.fx.GraphModule] = []

    def counted(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., Any]:
        def run(*inputs: object) -> Any:
            ran.append(graph)
            return graph.forward(*inputs)

        return run

    monkeypatch.setattr(nn.Module, "compile", lambda *_, **__: None)
    monkeypatch.setattr(layers, "_compiled", torch.compile(layers.layer, backend=counted))
    torch.compiler.reset()
    for kind in range(1, 11):
        model = tiny_model("varlen", norm_eps=kind * 1e-5)
        compile_layers(model)
        before = len(ran)
        encode(model, TOKENS, causal=True)
        assert len(ran) - before == len(model.model.layers)
    assert len(set(ran)) >= 10


@pytest.mark.usefixtures("without_inductor")
def test_a_frozen_layer_gets_no_gradient() -> None:
    model = tiny_model("varlen").train()
    model.model.layers[1].requires_grad_(False)
    compile_layers(model)
    encoded(model, causal=True)
    have = [all(p.grad is not None for p in layer.parameters()) for layer in model.model.layers]
    assert have == [True, False, True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_bias": True},
        {"mlp_bias": True},
        {"attention_bias": True},
        {"mlp_dropout": 0.1},
        {"hidden_activation": "relu"},
    ],
)
def test_layers_of_other_architectures_are_left_to_transformers(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda *_, **__: None)
    model = tiny_model("varlen", **changes)
    assert not can_be_compiled(model)
    before = encode(model, TOKENS, causal=True)
    compile_layers(model)
    assert torch.equal(encode(model, TOKENS, causal=True), before)


def test_a_layer_with_dropout_after_its_attention_is_left_to_transformers() -> None:
    model = tiny_model("varlen")
    assert can_be_compiled(model)
    set_attention_output_dropout(model, 0.1)
    assert not can_be_compiled(model)
