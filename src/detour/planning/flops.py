"""How much arithmetic a token costs, from a model's shape alone: for prices where nothing was measured, and for MFU.

Forward and backward together take 6 FLOPs per weight and token for the matrix multiplications, and 12 x hidden x
attended positions per layer for the attention scores and values (Kaplan et al. 2020, appendix; PaLM, appendix B). A
causal layer attends to half of what a bidirectional one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of a ModernBERT configuration that arithmetic depends on; defaults are those of transformers."""

    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    vocab_size: int = 50368
    global_attn_every_n_layers: int = 3
    local_attention: int = 128

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        return cls(**{name: int(config[name]) for name in cls.__slots__ if config.get(name) is not None})

    @property
    def layer_weights(self) -> int:
        """Weights of one layer: query, key, value and output projections, and the gated feed-forward."""
        return 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size

    @property
    def parameters(self) -> int:
        """All weights; the prediction head shares its matrix with the embeddings."""
        return self.num_hidden_layers * self.layer_weights + self.vocab_size * self.hidden_size + self.hidden_size**2


BASE = Shape()
LARGE = Shape(hidden_size=1024, intermediate_size=2624, num_hidden_layers=28)


def training_flops_per_token(shape: Shape, sequence_length: int, objective: str, predicted_share: float) -> float:
    """Forward and backward FLOPs of one token in a full row.

    `predicted_share` is the share of positions that reach the vocabulary matrix: 1 for causal, the masking rate for
    masked rows.
    """
    causal = objective == "causal"
    global_layers = -(-shape.num_hidden_layers // shape.global_attn_every_n_layers)
    local_layers = shape.num_hidden_layers - global_layers
    half = 0.5 if causal else 1.0
    attended = (
        global_layers * sequence_length * half + local_layers * min(sequence_length, shape.local_attention) * half
    )
    matrices = shape.num_hidden_layers * shape.layer_weights
    head = predicted_share * (shape.hidden_size**2 + shape.vocab_size * shape.hidden_size)
    return 6.0 * (matrices + head) + 12.0 * shape.hidden_size * attended
