"""The state of a training between two steps as one file of tensors and plain containers.

It is read without running anything that is in it.
"""

from __future__ import annotations

import math
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
    content = {field.name: getattr(state, field.name) for field in fields(state)}
    with path.open("wb") as file:  # given a path, torch does not say that the disk is full
        torch.save(content, file)


def read_trainer_state(path: Path) -> TrainerState:
    """Raises UnusableState when the file is damaged or incomplete, UserError when others may have written it."""
    try:
        state = TrainerState(**_load(path))
    except TypeError as error:
        raise UnusableState(f"is not a training state ({error})") from error
    if reason := _malformed(state):
        raise UnusableState(f"is not a training state ({reason})")
    return state


def problem(path: Path) -> str | None:
    """Why training cannot resume from the file, None when it can."""
    try:
        state = read_trainer_state(path)
    except UnusableState as error:
        return str(error)
    name = first_not_finite(state)
    return f"NaN or infinity in {name}" if name else None


def first_not_finite(state: TrainerState) -> str | None:
    """Name of the first tensor or number, weights before optimizer, that holds a NaN or an infinity."""
    return next((name for name, value in _values(state) if not _is_finite(value)), None)


def _malformed(state: TrainerState) -> str | None:
    """What is of another type than this module writes; values are not looked at."""
    if not _is_mapping(state.model, Tensor) or not state.model:
        return "its model is no mapping of names to tensors"
    if state.optimizer is not None and not _is_optimizer(state.optimizer):
        return "its optimizer is no mapping of state and param_groups"
    if any(type(count) is not int or count < 0 for count in (state.step, state.tokens)):
        return f"step {state.step!r} and tokens {state.tokens!r} are no counts"
    if odd := next(
        (name for name, value in _values(state) if isinstance(value, Tensor) and not _is_plain(value)), None
    ):
        return f"{odd} is no dense tensor on the CPU"
    return None


def _is_optimizer(optimizer: object) -> bool:
    return (
        isinstance(optimizer, Mapping)
        and _is_mapping(optimizer.get("state"), Mapping)
        and isinstance(groups := optimizer.get("param_groups"), list)
        and all(_is_mapping(group, object) for group in groups)
        and all(isinstance(group.get("params"), list | tuple) for group in groups)
    )


def _is_mapping(value: object, of: type) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, of) for k, v in value.items())


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def _is_finite(value: Tensor | float) -> bool:
    return bool(torch.isfinite(value).all()) if isinstance(value, Tensor) else math.isfinite(value)


def _load(path: Path) -> Any:
    try:
        with open_private(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        # A type that may not be in the file is its writer's mistake: called damage, it would discard every checkpoint.
        if "Unsupported global" in str(error):
            raise
        raise UnusableState(f"does not load ({type(error).__name__}: {str(error).partition('.')[0]})") from error


def _values(state: TrainerState) -> Iterator[tuple[str, Tensor | float]]:
    yield from state.model.items()
    optimizer = state.optimizer or {"state": {}, "param_groups": []}
    for parameter, moments in optimizer["state"].items():
        for key, value in moments.items():
            yield from ((f"optimizer {key} of {parameter}", part) for part in _numbers(value))
    for number, group in enumerate(optimizer["param_groups"]):
        for key, value in group.items():
            yield from ((f"optimizer {key} of group {number}", part) for part in _numbers(value))


def _numbers(value: object) -> Iterator[Tensor | float]:
    if isinstance(value, Tensor | float):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
