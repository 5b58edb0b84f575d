"""FLOPs of training, from a model's shape and the documents: for prices without measurements, and for MFU.

Forward and backward together take 6 FLOPs per weight and token for the matrix multiplications, and 12 x hidden per
layer for each pair of a token and one that it attends to: scores and values, forward and twice backward (Kaplan et al.
2020, appendix; PaLM, appendix B). Pairs are counted within documents and windows, as packed kernels compute them.
Counting whole rows would overstate MFU by up to one half, and price masked training above causal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import exp
from typing import Any

MEAN_DOCUMENT_TOKENS = 1200.0
"""Mean document length of packed biomedical text (articles, leaflets and cases), if the corpus is not known yet."""
GLOBAL_EVERY = 3
"""transformers' default: the first of so many layers is global."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of a ModernBERT config that determine its FLOPs, with the defaults of transformers."""

    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    vocab_size: int = 50368
    global_layers: int = 8
    local_attention: int = 128

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """Read a config, preferring `layer_types` of newer configs to `global_attn_every_n_layers`."""
        shape = cls(**{name: int(config[name]) for name in cls.__slots__ if config.get(name) is not None})
        every = int(config.get("global_attn_every_n_layers") or GLOBAL_EVERY)
        kinds = config.get("layer_types") or ()
        number = kinds.count("full_attention") if kinds else -(-shape.num_hidden_layers // every)
        return replace(shape, global_layers=number)

    @property
    def layer_weights(self) -> int:
        """Weights of one layer: query, key, value and output projections, and the gated feed-forward network."""
        return 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size

    @property
    def parameters(self) -> int:
        """Total weights; the prediction head shares its matrix with the embeddings."""
        return self.num_hidden_layers * self.layer_weights + self.vocab_size * self.hidden_size + self.hidden_size**2


BASE = Shape()
LARGE = Shape(hidden_size=1024, intermediate_size=2624, num_hidden_layers=28, global_layers=10)


def batch_flops(shape: Shape, lengths: Iterable[int], predicted: int, *, causal: bool) -> float:
    """Return forward and backward FLOPs of packed documents of these lengths, with `predicted` labelled tokens."""
    tokens = full = windowed = 0
    half, local_layers = shape.local_attention // 2, shape.num_hidden_layers - shape.global_layers
    for length in lengths:
        tokens += length
        full += attended_pairs(length, length, causal=causal)
        windowed += attended_pairs(length, half, causal=causal)
    pairs = shape.global_layers * full + local_layers * windowed
    return _flops(shape, tokens, predicted, pairs)


def training_flops_per_token(shape: Shape, objective: str, predicted_share: float, context: float) -> float:
    """Return the expected forward and backward FLOPs per token, from the length of its document (`context`).

    For packed rows, `context` is `expected_context`. `predicted_share` is the share of positions that reach the
    vocabulary matrix: 1 for causal, the masking rate for masked rows.
    """
    sides = 1 if objective == "causal" else 2
    window = min(float(shape.local_attention // 2), context / 2)
    local_layers = shape.num_hidden_layers - shape.global_layers
    pairs = shape.global_layers * context * sides / 2 + local_layers * (window * sides + 1)
    return _flops(shape, 1.0, predicted_share, pairs)


def attended_pairs(length: int, half_window: int, *, causal: bool) -> int:
    """Return the number of (query, key) pairs in a document, including (i, i), with `half_window` tokens per side."""
    side = min(half_window, length - 1)
    earlier = side * length - side * (side + 1) // 2
    return length + earlier * (1 if causal else 2)


def expected_context(sequence_length: int, mean_document_tokens: float = MEAN_DOCUMENT_TOKENS) -> float:
    """Return the mean length of the document that a token of a packed row belongs to: E[n^2] / E[n] for exponentially
    distributed lengths n, cut at `sequence_length`."""
    rows = sequence_length / mean_document_tokens
    remaining = exp(-rows)
    return 2 * mean_document_tokens * (1 - remaining * (1 + rows)) / (1 - remaining)


def _flops(shape: Shape, tokens: float, predicted: float, pairs: float) -> float:
    matrices = shape.num_hidden_layers * shape.layer_weights * tokens
    head = predicted * (shape.hidden_size**2 + shape.vocab_size * shape.hidden_size)
    return 6.0 * (matrices + head) + 12.0 * shape.hidden_size * pairs
