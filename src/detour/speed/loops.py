"""The bare training loop that is measured, with or without timing by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from detour.pretraining.batches import Batch, to_device


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Clock:
    """Time by part, synchronized at both ends of each; parts do not nest."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        synchronize(self.device)
        started_s = time.perf_counter()
        yield
        synchronize(self.device)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started_s


@dataclass(frozen=True)
class Loop:
    """The parts of a training step: a loss per microbatch, and an optimizer."""

    loss_of: Callable[[Batch], Tensor]
    optimizer: torch.optim.Optimizer
    model: nn.Module
    bf16: bool
    clip: float

    def steps(
        self, steps: Iterator[Sequence[Batch]], device: torch.device, clock: Clock | None = None
    ) -> Iterator[int]:
        """Yield after each step; with a clock, its parts are timed and do not overlap."""
        timed = clock.part if clock is not None else _untimed
        done = 0
        while True:
            with timed("data"):
                batches = next(steps, None)
            if batches is None:
                return
            labels = sum(len(batch["labels"]) for batch in batches)
            for batch in batches:
                with timed("to device"):
                    moved = to_device(batch, device)
                with timed("forward"), torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                    loss = self.loss_of(moved) * (len(batch["labels"]) / labels)
                with timed("backward"):
                    torch.autograd.backward(loss)
            with timed("optimizer"):
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
            done += 1
            yield done


@contextmanager
def _untimed(_name: str) -> Iterator[None]:
    yield
