from __future__ import annotations

import torch
from torch import Tensor

from detour.pretraining.attention import encode
from detour.pretraining.residual import set_bf16_stream
from tests.pretraining.tiny import pack, random_documents, tiny_model

TOKENS = pack([random_documents((40, 60))])


def streams(bf16: bool) -> list[Tensor]:
    """Return the output of each layer under autocast."""
    model, kept = tiny_model("varlen"), []
    if bf16:
        set_bf16_stream(model)
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        encode(model, TOKENS, causal=True)
    return kept


def test_every_layer_outputs_bf16() -> None:
    assert {stream.dtype for stream in streams(bf16=True)} == {torch.bfloat16}
    assert {stream.dtype for stream in streams(bf16=False)} == {torch.float32}


def test_the_residual_stream_is_the_same_up_to_rounding() -> None:
    for rounded, stream in zip(streams(bf16=True), streams(bf16=False), strict=True):
        assert (rounded.float() - stream).norm() / stream.norm() < 0.02


def test_weights_and_gradients_stay_in_fp32() -> None:
    model = tiny_model("varlen").train()
    set_bf16_stream(model)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = encode(model, TOKENS, causal=True)
    torch.autograd.backward(hidden.float().square().mean())
    trained = [parameter for parameter in model.model.parameters() if parameter.grad is not None]
    assert {(p.dtype, p.grad.dtype) for p in trained if p.grad is not None} == {(torch.float32, torch.float32)}
    assert len(trained) == len(list(model.model.parameters()))
