from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from detour.flops import (
    BASE,
    Shape,
    attended_pairs,
    batch_flops,
    expected_context,
    training_flops_per_token,
)
from detour.pretraining.attention import attention_masks, predict
from tests.pretraining.tiny import HALF_WINDOW, pack, random_documents, tiny_model

LENGTHS = (40, 1, 7, 90, 23)


def counted_forward(model_changes: dict[str, Any], lengths: tuple[int, ...]) -> float:
    """Return the FLOPs that torch counts for a forward pass in which every token is predicted."""
    model = tiny_model("eager", **model_changes)
    with FlopCounterMode(display=False) as counter:
        predict(model, pack([random_documents(lengths)]), causal=False)
    return float(counter.get_total_flops())


def test_flops_equal_those_that_torch_counts_for_one_document() -> None:
    """Every layer global: torch counts dense scores, so nothing else is comparable."""
    kinds = ["full_attention"] * 4
    counted = counted_forward({"layer_types": kinds}, (128,))
    shape = Shape.from_config({**tiny_model().config.to_dict(), "layer_types": kinds})
    # torch adds the rotary embedding's small product, 1 % here
    assert batch_flops(shape, [128], 128, causal=False) / 3 == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_the_pairs_of_a_packed_row_are_those_of_its_masks(causal: bool) -> None:
    tokens = pack([random_documents(LENGTHS)])
    masks = attention_masks(tokens["position_ids"], HALF_WINDOW, causal=causal)
    for kind, window in (("full_attention", 10**6), ("sliding_attention", HALF_WINDOW)):
        pairs = sum(attended_pairs(length, window, causal=causal) for length in LENGTHS)
        assert pairs == int(masks[kind].sum())


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_a_packed_batch_costs_matrices_head_and_the_pairs_of_its_masks(causal: bool) -> None:
    config = tiny_model().config
    masks = attention_masks(pack([random_documents(LENGTHS)])["position_ids"], HALF_WINDOW, causal=causal)
    pairs = sum(int(masks[kind].sum()) for kind in config.layer_types)
    matrices = 4 * (4 * 32 * 32 + 3 * 32 * 48) * sum(LENGTHS)
    head = 50 * (32 * 32 + 211 * 32)
    expected = 6 * (matrices + head) + 12 * 32 * pairs
    shape = Shape.from_config(config.to_dict())
    assert batch_flops(shape, LENGTHS, 50, causal=causal) == expected


@pytest.mark.parametrize(
    ("config", "number"),
    [
        ({}, 8),
        ({"num_hidden_layers": 28}, 10),
        ({"num_hidden_layers": 4, "global_attn_every_n_layers": 9}, 1),
        ({"num_hidden_layers": 3, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}, 1),
        ({"num_hidden_layers": 2, "layer_types": ["sliding_attention"] * 2}, 0),
    ],
)
def test_global_layers_are_counted_in_any_order(config: dict[str, Any], number: int) -> None:
    assert Shape.from_config(config).global_layers == number


@given(length=st.integers(1, 300), window=st.integers(0, 400), causal=st.booleans())
def test_pairs_equal_a_count_one_by_one(length: int, window: int, causal: bool) -> None:
    token = torch.arange(length)
    distance = token[:, None] - token[None, :]
    seen = (distance.abs() <= window) & ((distance >= 0) if causal else torch.tensor(True))
    assert attended_pairs(length, window, causal=causal) == int(seen.sum())


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_the_expectation_is_the_mean_over_many_packed_documents(objective: str) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.empty(200_000).exponential_(1 / 1200, generator=generator).clamp(1, 8192).long()
    tokens = int(drawn.sum())
    predicted = 1.0 if objective == "causal" else 0.15
    counted = batch_flops(BASE, drawn.tolist(), round(predicted * tokens), causal=objective == "causal") / tokens
    expected = training_flops_per_token(BASE, objective, predicted, expected_context(8192, 1200.0))
    assert expected == pytest.approx(counted, rel=0.01)


def test_long_documents_fill_the_row_that_they_are_cut_to() -> None:
    assert expected_context(1024, 1e6) == pytest.approx(1024, rel=0.01)
