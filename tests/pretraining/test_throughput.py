from __future__ import annotations

import pytest
from torch.utils.flop_counter import FlopCounterMode
from transformers import ModernBertConfig

from detour.pretraining.attention import predict
from detour.pretraining.throughput import flops_per_token, mfu, peak_flops
from tests.pretraining.tiny import pack, random_documents, tiny_model


def test_it_counts_what_torch_counts() -> None:
    """Forward, every token predicted, every layer global: torch counts dense scores, so nothing else is comparable."""
    model = tiny_model("eager", layer_types=["full_attention"] * 4)
    tokens = pack([random_documents((128,))])
    with FlopCounterMode(display=False) as counter:
        predict(model, tokens, causal=False)
    counted = counter.get_total_flops() / 128
    # torch adds the rotary embedding's small product, 1 % here
    assert flops_per_token(model.config, 128, causal=False, predicted=1.0) / 3 == pytest.approx(counted, rel=0.01)


def test_the_base_model_at_its_full_length() -> None:
    config = ModernBertConfig()
    causal = flops_per_token(config, 8192, causal=True, predicted=1.0)
    masked = flops_per_token(config, 8192, causal=False, predicted=0.15)
    layers, head = 22 * (4 * 768**2 + 3 * 768 * 1152), 768**2 + 768 * 50368
    assert causal == pytest.approx(6 * (layers + head) + 12 * 768 * (8 * 8193 / 2 + 14 * 65))
    assert masked == pytest.approx(6 * (layers + 0.15 * head) + 12 * 768 * (8 * 8192 + 14 * 129))


def test_utilisation_of_a_known_board() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("a board from next year") is None
    assert mfu(800_000, 1e9, 4, 1e15) == pytest.approx(0.2)
