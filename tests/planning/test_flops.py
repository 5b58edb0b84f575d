from __future__ import annotations

import pytest
from torch.utils.flop_counter import FlopCounterMode

from detour.planning.flops import BASE, Shape, training_flops_per_token
from detour.pretraining.attention import predict
from tests.pretraining.tiny import pack, random_documents, tiny_model


def test_it_counts_what_torch_counts() -> None:
    """Forward, every token predicted, every layer global: torch counts dense scores, so nothing else is comparable."""
    model = tiny_model("eager", layer_types=["full_attention"] * 4)
    tokens = pack([random_documents((128,))])
    with FlopCounterMode(display=False) as counter:
        predict(model, tokens, causal=False)
    counted = counter.get_total_flops() / 128
    shape = Shape.from_config({**model.config.to_dict(), "global_attn_every_n_layers": 1})
    # torch adds the rotary embedding's small product, 1 % here
    assert training_flops_per_token(shape, 128, "masked", 1.0) / 3 == pytest.approx(counted, rel=0.01)


def test_the_base_model_at_its_full_length() -> None:
    causal = training_flops_per_token(BASE, 8192, "causal", 1.0)
    masked = training_flops_per_token(BASE, 8192, "masked", 0.15)
    layers, head = 22 * (4 * 768**2 + 3 * 768 * 1152), 768**2 + 768 * 50368
    assert causal == pytest.approx(6 * (layers + head) + 12 * 768 * (8 * 4096 + 14 * 64))
    assert masked == pytest.approx(6 * (layers + 0.15 * head) + 12 * 768 * (8 * 8192 + 14 * 128))
