"""A batch of token sequences in the form that an encoder reads, and access to its states.

`Padded` sequences are rows as long as the longest one, for any encoder and device. `Joined` sequences are concatenated
in a single row and use a variable-length kernel, so that almost nothing is computed for padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from detour.evaluation.batches import pad
from detour.evaluation.graphs import EncoderGraphs
from detour.pretraining.kernels import KERNELS

KERNEL = "varlen"
"""torch's own kernel: except in narrow windows, others gain nothing over it in batches this small."""
LEAST_GRID = 128
"""Joined tokens are padded to a multiple of this: matrix kernels are faster for round sizes."""
SIZES_BITS = 3
"""Above the least grid, there are 2 ** SIZES_BITS sizes between consecutive powers of two."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How an encoder is computed. Not a setting of a task: all modes give the same results, up to rounding on a GPU."""

    joined: bool = False
    """Concatenated sequences with a variable-length kernel, instead of padded ones with a mask."""
    compiled: bool = False
    """Compile each layer of the encoder, which makes the first step slow. Requires `joined`."""
    fused: bool = False
    """Use pretraining's compiled layers, which have fewer kernels than the encoder's own. Requires `joined`."""
    graphed: bool = False
    """Launch training passes as CUDA graphs. Requires `fused`."""
    kernel: str = KERNEL
    """A kernel of `pretraining.kernels`, for joined sequences."""


PLAIN = Mode()


def as_language_model(encoder: Any) -> Any:
    """Wrap an encoder for pretraining's layers, which expect a language model but use only its encoder and config."""
    return SimpleNamespace(config=encoder.config, model=encoder)


class States(Protocol):
    """The last hidden states of a batch of sequences."""

    def first(self) -> Tensor:
        """(sequences, hidden): the state of each sequence's first token."""

    def mean(self) -> Tensor:
        """(sequences, hidden): the mean over each sequence's tokens."""

    def at(self, positions: Tensor) -> Tensor:
        """(sequences, words, hidden) in fp32: the states of the tokens at `positions` (sequences, words)."""


class Sequences(Protocol):
    def encode(self, encoder: Any) -> States:
        """The states, in the type that the encoder and autocast produce."""


@dataclass(frozen=True, slots=True)
class Padded:
    token_ids: Tensor
    """(sequences, longest)"""
    attention_mask: Tensor

    @classmethod
    def of(cls, token_ids: Sequence[Sequence[int]], padding_id: int, device: torch.device) -> Padded:
        ids, mask = pad(token_ids, padding_id)
        return cls(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))

    def encode(self, encoder: Any) -> PaddedStates:
        output = encoder(input_ids=self.token_ids, attention_mask=self.attention_mask)
        return PaddedStates(output.last_hidden_state, self.attention_mask)


@dataclass(frozen=True, slots=True)
class PaddedStates:
    states: Tensor
    """(sequences, longest, hidden)"""
    attention_mask: Tensor

    def first(self) -> Tensor:
        return self.states[:, 0]

    def mean(self) -> Tensor:
        weight = self.attention_mask.unsqueeze(-1).to(self.states.dtype)
        return (self.states * weight).sum(dim=1) / weight.sum(dim=1)

    def at(self, positions: Tensor) -> Tensor:
        states = self.states.float()
        return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


@dataclass(frozen=True, slots=True)
class Joined:
    """Concatenated sequences. Apart from the number of tokens, all sizes depend only on the maximum batch size."""

    token_ids: Tensor
    """(1, tokens)"""
    position_ids: Tensor
    """(1, tokens), restarting at 0 in every sequence."""
    cu_seqlens: Tensor
    """(most sequences + 2,) int32. Padding is a sequence of its own, because a kernel leaves tokens past the last
    boundary unwritten; missing sequences are empty ones at the end."""
    starts: Tensor
    """(sequences,): index of each sequence's first token."""
    owners: Tensor
    """(sequences, tokens) float32: the matrix that computes each sequence's mean."""
    longest: int
    """Upper limit on the length of a sequence in tokens, padding included, the same for all batches."""
    mode: Mode
    graphs: EncoderGraphs | None = None

    @classmethod
    def of(
        cls,
        token_ids: Sequence[Sequence[int]],
        padding_id: int,
        device: torch.device,
        *,
        most: int,
        longest: int,
        mode: Mode,
        graphs: EncoderGraphs | None = None,
    ) -> Joined:
        """Training batches have at most `most` sequences of at most `longest` tokens."""
        lengths = np.array([len(ids) for ids in token_ids], dtype=np.int64)
        ends = lengths.cumsum()
        total = filled_up(int(ends[-1]), longest if mode.graphed else LEAST_GRID)
        boundaries = np.full(max(most, len(lengths)) + 2, total, dtype=np.int32)
        boundaries[: len(ends) + 1] = [0, *ends]
        joined = np.full(total, padding_id, dtype=np.int64)
        joined[: ends[-1]] = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in token_ids])
        whole = boundaries.astype(np.int64)
        positions = np.arange(total) - np.repeat(whole[:-1], np.diff(whole))
        owners = np.zeros((len(lengths), total), dtype=np.float32)
        for row, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            owners[row, end - length : end] = 1.0 / length
        arrays = (joined[None], positions[None], boundaries, ends - lengths, owners)
        ids, places, cu_seqlens, starts, shares = (torch.from_numpy(array).to(device) for array in arrays)
        return cls(ids, places, cu_seqlens, starts, shares, max(longest, LEAST_GRID), mode, graphs)

    def encode(self, encoder: Any) -> JoinedStates:
        through = self._through_fused_layers if self.mode.fused else self._through_own_layers
        encode, inputs = partial(through, encoder), (self.token_ids, self.position_ids, self.cu_seqlens)
        states = encode(*inputs) if self.graphs is None else self.graphs.states(encode, *inputs)
        return JoinedStates(states, self.starts, self.owners)

    def _through_own_layers(self, encoder: Any, token_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
        output = encoder(
            input_ids=token_ids,
            position_ids=position_ids,
            is_causal=False,
            cu_seq_lens_q=cu_seqlens,
            cu_seq_lens_k=cu_seqlens,
            max_length_q=self.longest,
            max_length_k=self.longest,
        )
        states: Tensor = output.last_hidden_state[0]
        return states

    def _through_fused_layers(
        self, encoder: Any, token_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor
    ) -> Tensor:
        from detour.pretraining.layers import run_layers

        model, embedded = as_language_model(encoder), encoder.embeddings(input_ids=token_ids)[0]
        kernel = KERNELS[self.mode.kernel]
        return run_layers(
            model, kernel, embedded, position_ids, cu_seqlens, self.longest, causal=False, any_length=True
        )


def filled_up(tokens: int, coarsest: int) -> int:
    """Round up to one of few sizes, eight between consecutive powers of two, because each size has its own graphs.

    The grid is at most `coarsest`, so that the padding, itself a sequence, is not longer than the others.
    """
    power = 1 << max(0, (tokens - 1).bit_length() - SIZES_BITS - 1)
    grid = max(LEAST_GRID, min(power, coarsest // LEAST_GRID * LEAST_GRID))
    return -(-tokens // grid) * grid


@dataclass(frozen=True, slots=True)
class JoinedStates:
    states: Tensor
    """(tokens, hidden)"""
    starts: Tensor
    owners: Tensor

    def first(self) -> Tensor:
        return self.states[self.starts]

    def mean(self) -> Tensor:
        with torch.autocast(self.states.device.type, enabled=False):
            return self.owners @ self.states.float()

    def at(self, positions: Tensor) -> Tensor:
        return self.states.float()[self.starts[:, None] + positions]
