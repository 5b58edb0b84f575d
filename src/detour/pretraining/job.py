"""The inputs of a pretraining phase, and its interface for reporting progress."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from detour.config.models import Optimizer, Phase, Seeds, Training
from detour.config.training import Precision
from detour.ledger.events import Event
from detour.pretraining.start import Start


class Recorder(Protocol):
    """The part of `detour.ledger.attempt.Attempt` that training uses."""

    def event(self, event: Event) -> None: ...

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None: ...

    @property
    def stop_reason(self) -> str | None: ...


def say(what: str) -> None:
    """Write to the stage's log."""
    logging.getLogger(__name__).warning(what)


@dataclass(frozen=True, slots=True)
class PretrainJob:
    """Everything that determines a phase, and where it may write."""

    start: Start
    phase: Phase
    optimizer: Optimizer
    steps: int
    warmup_steps: int
    batch_sequences: int
    sequence_length: int
    seeds: Seeds
    precision: Precision
    first_row: int
    """Number of rows that earlier phases have used."""
    corpus: Path
    work_dir: Path
    """Keeps the checkpoints between attempts."""
    output_dir: Path
    """Gets `checkpoint.safetensors`, `config.json` and `history.json`."""
    training: Training
    microbatch_sequences: int | Literal["auto"]
    name: str = "pretrain"
    stage: str | None = None
    """The stage's id, which checkpoints carry: those of another stage are never resumed from."""

    @property
    def step_tokens(self) -> int:
        return self.batch_sequences * self.sequence_length

    @property
    def tokens(self) -> int:
        return self.steps * self.step_tokens
