"""What a measurement says, as it travels from the process that measured to the one that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

LoopName = Literal["detour", "bare loop", "transformers", "transformers, sdpa"]
"""`detour`: the training as jobs run it. `bare loop`: its model, loss, rows and optimizer without anything around them.
`transformers`: a plain loop over whole rows with the library's own loss, in the attention that it picks."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How long to measure, and on how much."""

    steps: int
    rows: int | None = None
    """A step; None: the recipe's, on one device."""
    microbatch_rows: int | None = None
    """None: the recipe's."""
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Speed:
    """One loop on one phase. Unknown is None: on a CPU there is no peak to be a share of, and no energy counter."""

    phase: str
    loop: LoopName
    tokens_per_s: float | None = None
    mfu: float | None = None
    """FLOPs of the real documents over time and the device's dense bf16 peak."""
    memory_gib: float | None = None
    joules_per_token: float | None = None
    step_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean time of each part of a step, with the device waited for between them."""
    attention: str | None = None
    """The kernel that was chosen."""
    attention_ms: Mapping[str, float] = field(default_factory=dict)
    """What the choice measured of each kernel that is right: forward and backward of a mean layer."""
    problem: str | None = None
    """Why there is no figure."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Speed:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Device:
    """What was measured on, in its makers' words."""

    name: str
    torch: str
    transformers: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Device:
        return cls(**data)
