from __future__ import annotations

from detour.config.model_config import ACTIVATIONS, FIELDS


def test_the_fields_are_those_of_the_class() -> None:
    """transformers understands three older names without listing them."""
    from transformers import ModernBertConfig

    older = {"global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"}
    assert set(FIELDS) == set(ModernBertConfig.__annotations__) | older
    given = ModernBertConfig(global_attn_every_n_layers=2, num_hidden_layers=4, global_rope_theta=5.0)
    assert given.layer_types == ["full_attention", "sliding_attention"] * 2
    assert given.rope_parameters["full_attention"]["rope_theta"] == 5.0


def test_the_activations_are_those_of_transformers() -> None:
    from transformers.activations import ACT2FN

    assert set(ACTIVATIONS) == set(ACT2FN)
