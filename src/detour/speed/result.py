"""The result of a measurement, passed from the measuring process to the one that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

LoopName = Literal["detour", "bare loop", "transformers", "transformers, sdpa"]
"""`detour`: the training as jobs run it. `bare loop`: its model, loss, rows and optimizer with nothing around them.
`transformers`: the library's Trainer over whole rows. `transformers, sdpa`: a bare loop with the library's loss."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """The requested number of steps and their size."""

    steps: int
    rows: int | None = None
    """Rows per step on one device; None for the recipe's."""
    microbatch_rows: int | None = None
    """None for the recipe's."""
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Speed:
    """The figures of one loop on one phase. Unknown is None: a CPU has no peak for MFU and no energy counter."""

    phase: str
    loop: LoopName
    tokens_per_s: float | None = None
    mfu: float | None = None
    """FLOPs of the actual documents, divided by time and by the device's dense bf16 peak."""
    memory_gib: float | None = None
    joules_per_token: float | None = None
    step_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean time of each part of a step, synchronized in between."""
    attention: str | None = None
    """The chosen kernel."""
    attention_ms: Mapping[str, float] = field(default_factory=dict)
    """Forward and backward time of the average layer, for each correct kernel."""
    problem: str | None = None
    """Why there are no figures."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Speed:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Device:
    """The device and library versions of a measurement."""

    name: str
    torch: str
    transformers: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Device:
        return cls(**data)
