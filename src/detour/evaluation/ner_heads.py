"""Heads over the words of a window: one scores every span (nested entities), one tags every word (flat entities).

The span head follows Yu, Bohnet and Poesio (2020), "Named Entity Recognition as Dependency Parsing": a recurrent layer
for context, projections of each word as a beginning and as an end, and a biaffine score per label. It has a sigmoid
instead of their softmax, so that a span may have several labels, and an upper limit on the length of spans.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from detour.evaluation.sequences import Sequences
from detour.evaluation.workload import TaskModel
from detour.pretraining.device import has_bf16

CONTEXT = 200
"""Width of the recurrent layer in each direction."""
PROJECTION = 64
"""Width of the projections, as in the published harness."""
FIRST_LOGIT = -4.0
"""Initial logit of every span: few spans are entities, and a head that starts at even odds would first unlearn them."""


class Words(NamedTuple):
    """A batch of windows."""

    windows: Sequences
    positions: Tensor
    """(windows, words): the first token of each word, padded with 0."""
    lengths: Tensor
    """Number of words of each window, at least 1; on the CPU."""


class SpanHead(nn.Module):
    """Logits (windows, words, widths, labels) of the spans of `width + 1` words that begin at each word."""

    def __init__(self, hidden: int, labels: int, widths: int) -> None:
        super().__init__()
        self.widths = widths
        self.context = nn.LSTM(hidden, CONTEXT, batch_first=True, bidirectional=True)
        self.beginning = nn.Sequential(nn.Linear(2 * CONTEXT, PROJECTION), nn.GELU())
        self.end = nn.Sequential(nn.Linear(2 * CONTEXT, PROJECTION), nn.GELU())
        self.biaffine = nn.Parameter(torch.empty(labels, PROJECTION + 1, PROJECTION + 1))
        nn.init.normal_(self.biaffine, std=PROJECTION**-1.0)
        self.width = nn.Parameter(torch.full((widths, labels), FIRST_LOGIT))

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """`states`: (windows, words, hidden)."""
        packed = nn.utils.rnn.pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
        context, _ = nn.utils.rnn.pad_packed_sequence(self.context(packed)[0], batch_first=True)
        begins, ends = _with_one(self.beginning(context)), _with_one(self.end(context))
        shifted = nn.functional.pad(ends, (0, 0, 0, self.widths - 1)).unfold(1, self.widths, 1)
        by_label = torch.einsum("bnd,lde->bnle", begins, self.biaffine)
        return torch.einsum("bnle,bnew->bnwl", by_label, shifted) + self.width


class TokenHead(nn.Module):
    """Logits (windows, words, tags): outside, then `B` and `I` of each label."""

    def __init__(self, hidden: int, labels: int) -> None:
        super().__init__()
        self.tags = nn.Linear(hidden, 1 + 2 * labels)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002
        logits: Tensor = self.tags(states)
        return logits


class EncoderTagger(TaskModel):
    """An encoder in bf16 where the device has it, with a head in fp32."""

    def __init__(self, encoder: Any, labels: int, longest_span: int | None) -> None:
        """`longest_span`: in words, for nested entities; None for flat ones."""
        super().__init__()
        self.encoder = encoder
        hidden = self.encoder.config.hidden_size
        self.head = TokenHead(hidden, labels) if longest_span is None else SpanHead(hidden, labels, longest_span)

    def forward(self, words: Words) -> Tensor:
        device = words.positions.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bf16(device)):
            states = words.windows.encode(self.encoder)
        logits: Tensor = self.head(states.at(words.positions), words.lengths)
        return logits


def _with_one(words: Tensor) -> Tensor:
    """Append a constant 1, which gives the biaffine form its linear terms."""
    return nn.functional.pad(words, (0, 1), value=1.0)
