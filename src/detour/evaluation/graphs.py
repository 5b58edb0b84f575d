"""Run an encoder's forward and backward pass over joined sequences as CUDA graphs: one launch instead of a thousand.

Fine-tuning batches are small: launching their kernels one by one takes longer than computing them. A graph has fixed
shapes and addresses, so each number of tokens has its own graphs. They are recorded when that number occurs for the
second time; the first pass runs normally and does the compiling and tuning that recording does not allow. Graphs are
used only after their states and gradients have been compared with those of normal passes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

LOGGER = logging.getLogger("detour.evaluation")
TOLERANCE = 0.02
"""Upper bound on the relative norm of the difference: the same kernels differ only in the order of some sums."""
Act = Callable[[], None]
Recorder = Callable[[Act], Act]
"""Records what a function does, and returns a function that repeats it on the same tensors."""
Encode = Callable[..., Tensor]
"""Maps an encoder's inputs to its states."""


def cuda_recorder() -> Recorder:
    """A recorder whose graphs share memory: only one of them is ever between its forward and backward pass."""
    pool = torch.cuda.graph_pool_handle()

    def record(act: Act) -> Act:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            act()
        return graph.replay

    return record


class EncoderGraphs:
    """The graphs of one encoder, whose weights must keep their addresses.

    All sizes write gradients to the same buffers; gradients of an earlier part of the batch are moved away first.
    """

    def __init__(self, weights: Sequence[Tensor], record: Recorder) -> None:
        self.weights, self.record = list(weights), record
        self.gradients = [torch.empty_like(weight) for weight in self.weights]
        self.passes: dict[int, _Passes | None] = {}
        """By number of tokens; None if that number has occurred once."""
        self.are_right = True
        self.anchor = torch.zeros((), device=self.weights[0].device, requires_grad=True)

    def states(self, encode: Encode, *inputs: Tensor) -> Tensor:
        """Equivalent to `encode(*inputs)`; the first input's number of tokens must determine all sizes."""
        tokens = inputs[0].numel()
        if not (self.are_right and torch.is_grad_enabled()):
            return encode(*inputs)
        if tokens not in self.passes:
            self.passes[tokens] = None
            return encode(*inputs)
        passes = self.passes[tokens] or self._recorded(encode, inputs)
        if passes is None:
            self.are_right = False
            return encode(*inputs)
        self.passes[tokens] = passes
        states: Tensor = _Replay.apply(self.anchor, self, passes, *inputs)  # type: ignore[no-untyped-call]
        return states

    def add_gradients(self, passes: _Passes, above: Tensor) -> None:
        """Replay the backward pass of `passes` and add its gradients to those of the weights."""
        self._clear_place()
        passes.gradient.copy_(above)
        passes.backward()
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad + gradient

    def _clear_place(self) -> None:
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            if weight.grad is gradient:
                weight.grad = gradient.clone()

    def _recorded(self, encode: Encode, inputs: Sequence[Tensor]) -> _Passes | None:
        """Record and check graphs; None, with a warning, if they cannot be used here."""
        self._clear_place()
        try:
            passes = _Passes(self.weights, self.gradients, encode, inputs, self.record)
            error = passes.error(encode)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as failure:
            LOGGER.warning("kernels are launched one by one: no graph of them can be recorded (%s)", failure)
            return None
        if error <= TOLERANCE:
            return passes
        LOGGER.warning("kernels are launched one by one: recorded as a graph, they are off by %.1g", error)
        return None


class _Passes:
    """The recorded forward and backward pass for one number of tokens; the latter writes to `gradients`."""

    def __init__(
        self,
        weights: list[Tensor],
        gradients: list[Tensor],
        encode: Encode,
        inputs: Sequence[Tensor],
        record: Recorder,
    ) -> None:
        self.weights, self.gradients = weights, gradients
        self.inputs = [tensor.clone() for tensor in inputs]
        self.states: Tensor
        self.gradient: Tensor

        def forward() -> None:
            with torch.enable_grad():
                self.states = encode(*self.inputs)

        def backward() -> None:
            torch._foreach_copy_(gradients, torch.autograd.grad(self.states, weights, self.gradient))

        self.forward = record(forward)
        self.gradient = torch.zeros_like(self.states)
        self.backward = record(backward)
        self.states = self.states.detach()  # the recorded backward pass has its own references

    def error(self, encode: Encode) -> float:
        """The larger of the relative errors of states and gradients, compared with normal passes on the same tokens."""
        exact_states = encode(*self.inputs)
        self.gradient.copy_(exact_states.detach())
        exact = torch.autograd.grad(exact_states, self.weights, self.gradient)
        torch._foreach_zero_(self.gradients)
        self.forward()
        self.backward()
        return max(_apart([self.states.detach()], [exact_states.detach()]), _apart(self.gradients, exact))


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _anchor: Tensor, graphs: EncoderGraphs, passes: _Passes, *inputs: Tensor) -> Tensor:
        for place, tensor in zip(passes.inputs, inputs, strict=True):
            place.copy_(tensor)
        passes.forward()
        ctx.graphs, ctx.passes = graphs, passes
        return passes.states.detach()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, ...]:
        ctx.graphs.add_gradients(ctx.passes, above[0])
        return (None,) * (3 + len(ctx.passes.inputs))


def _apart(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    differences = torch._foreach_sub(list(found), list(exact))
    return float(get_total_norm(differences) / get_total_norm(exact))
