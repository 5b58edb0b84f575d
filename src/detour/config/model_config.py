"""The fields allowed in `model.config`: those of transformers' ModernBertConfig, which accepts misspelt ones silently.

They are listed here because the login node does not import transformers; a test compares the lists with the class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from detour.config.problems import KeyPath
from detour.text import suggestion

SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
    "local_attention",
    "global_attn_every_n_layers",
)
"""Whole numbers above 0."""
SPECIAL_TOKENS = ("pad_token_id", "eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id")
TOKEN_IDS = (*SPECIAL_TOKENS, "sparse_pred_ignore_index")
NUMBERS = ("initializer_range", "initializer_cutoff_factor", "norm_eps")
"""0 or above."""
PROBABILITIES = ("attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout")
THETAS = ("global_rope_theta", "local_rope_theta")
"""Above 0: rotations divide by their powers."""
SWITCHES = (
    "norm_bias",
    "attention_bias",
    "mlp_bias",
    "decoder_bias",
    "classifier_bias",
    "deterministic_flash_attn",
    "sparse_prediction",
    "tie_word_embeddings",
)
ACTIVATIONS = (
    *("gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh"),
    *("gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu"),
    *("relu2", "relu6", "sigmoid", "silu", "sqrtsoftplus", "swish", "tanh", "xielu"),
)
CHOICES: Mapping[str, tuple[str, ...]] = {
    "hidden_activation": ACTIVATIONS,
    "classifier_activation": ACTIVATIONS,
    "classifier_pooling": ("cls", "mean"),
}
LAYER_TYPES = ("full_attention", "sliding_attention")
OTHERS = ("layer_types", "rope_parameters")
FIELDS = (*SIZES, *TOKEN_IDS, *NUMBERS, *PROBABILITIES, *THETAS, *SWITCHES, *CHOICES, *OTHERS)


def config_problems(config: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Return the problems of a config, each with its path below it."""
    found = [((name,), message) for name, value in config.items() if (message := _problem(name, value))]
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if not found and hidden is not None and heads is not None and (message := _heads_problem(hidden, heads)):
        found.append((("num_attention_heads",), message))
    if message := _layers_problem(config.get("layer_types"), config.get("num_hidden_layers")):
        found.append((("layer_types",), message))
    return list(found)


def token_problems(config: Mapping[str, Any], vocabulary: int) -> Iterator[tuple[KeyPath, str]]:
    """Yield the special tokens that are none of the model's `vocabulary` ids, each with its path below the config."""
    for name in SPECIAL_TOKENS:
        token = config.get(name)
        if isinstance(token, int) and not 0 <= token < vocabulary:
            message = f"{token} is none of the vocabulary's {vocabulary:,} ids, 0 to {vocabulary - 1:,}"
            yield (name,), message


def _layers_problem(types: object, layers: object) -> str | None:
    if types is None:
        return None
    if not isinstance(types, list) or not all(kind in LAYER_TYPES for kind in types):
        return f"expected a list of {' and '.join(LAYER_TYPES)}, one for each layer"
    if isinstance(layers, int) and len(types) != layers:
        return f"{len(types)} types for {layers} layers"
    return None


def _heads_problem(hidden: int, heads: int) -> str | None:
    if hidden % heads:
        return f"{heads} heads cannot share hidden_size {hidden:,} equally"
    if (size := hidden // heads) % 2:
        return f"{heads} heads of hidden_size {hidden:,} have a size of {size} each: rotations need an even number"
    return None


def _problem(name: str, value: object) -> str | None:
    if name not in FIELDS:
        return f"unknown key{suggestion(name, sorted(FIELDS))}"
    is_whole, is_number = type(value) is int, type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]
    if name in SIZES and not (is_whole and value > 0):  # type: ignore[operator]
        return f"expected a whole number above 0, found {value!r}"
    if name in TOKEN_IDS and not is_whole:
        return f"expected a whole number, found {value!r}"
    if name in NUMBERS and not (is_number and value >= 0):  # type: ignore[operator]
        return f"expected a number, 0 or above, found {value!r}"
    if name in PROBABILITIES and not (is_number and 0 <= value <= 1):  # type: ignore[operator]
        return f"expected a probability from 0 to 1, found {value!r}"
    if name in THETAS and not (is_number and value > 0):  # type: ignore[operator]
        return f"expected a number above 0, found {value!r}"
    if name in CHOICES and value not in CHOICES[name]:
        return f"{value!r} is none of {', '.join(CHOICES[name])}{suggestion(str(value), CHOICES[name], '')}"
    if name in SWITCHES and type(value) is not bool:
        return f"expected true or false, found {value!r}"
    if name == "rope_parameters" and not (isinstance(value, dict) and _is_finite(value)):
        return "expected a mapping of finite values"
    return None


def _is_finite(value: object) -> bool:
    """Whether a value contains no infinity and no NaN, which JSON cannot hold."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or isfinite(value)
