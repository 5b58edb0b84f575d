"""The state of a training between two steps as one file of tensors and plain containers.

It is read without running anything that is in it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detour.checkpoints.trust import open_private

LOAD_ERRORS = (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError)
"""What torch raises at a file that is cut, changed or of another kind."""


class UnusableState(Exception):
    """A file that does not hold a training state; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class TrainerState:
    """Everything is under the names that ModernBertForMaskedLM gives its parameters; read back, it is on the CPU."""

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any] | None
    """`state`: parameter name -> {exp_avg, exp_avg_sq, step}; `param_groups`: as torch has them, with names."""
    step: int
    tokens: int
    """Tokens that the phase has trained on."""


def write_trainer_state(path: Path, state: TrainerState) -> None:
    torch.save({field.name: getattr(state, field.name) for field in fields(state)}, path)


def read_trainer_state(path: Path) -> TrainerState:
    """Raises UnusableState when the file is damaged or incomplete, UserError when others may have written it."""
    try:
        return TrainerState(**_load(path))
    except TypeError as error:
        raise UnusableState(f"is not a training state ({error})") from error


def problem(path: Path) -> str | None:
    """Why training cannot go on from the file, None when it can."""
    try:
        state = read_trainer_state(path)
    except UnusableState as error:
        return str(error)
    name = first_not_finite(state)
    return f"NaN or infinity in {name}" if name else None


def first_not_finite(state: TrainerState) -> str | None:
    """Name of the first tensor, weights before optimizer, that holds a NaN or an infinity."""
    return next((name for name, tensor in _tensors(state) if not torch.isfinite(tensor).all()), None)


def _load(path: Path) -> Any:
    try:
        with open_private(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        # A type that may not be in the file is its writer's mistake: called damage, it would discard every checkpoint.
        if "Unsupported global" in str(error):
            raise
        raise UnusableState(f"does not load ({type(error).__name__}: {str(error).partition('.')[0]})") from error


def _tensors(state: TrainerState) -> Iterator[tuple[str, Tensor]]:
    yield from state.model.items()
    for parameter, values in (state.optimizer or {}).get("state", {}).items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                yield f"optimizer {key} of {parameter}", value
