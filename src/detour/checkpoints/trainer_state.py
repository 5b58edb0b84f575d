"""The trainer's own checkpoint file, read without running anything that is in it.

Composer pickles plain containers and tensors, and a few harmless types beside; exactly those are allowed here.
"""

from __future__ import annotations

import datetime
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from detour.checkpoints.trust import require_private

EMBEDDING = "model.embeddings.tok_embeddings.weight"
"""A weight that every ModernBertForMaskedLM has; what stands before it is the trainer's prefix."""
HARMLESS: tuple[Any, ...] = (
    datetime.timedelta,
    TorchVersion,
    np.ndarray,
    np.dtype,
    np.dtypes.UInt32DType,
    np.empty(0).__reduce__()[0],
)


class UnusableState(Exception):
    """A file that does not hold a training state; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class TrainerState:
    """What a following phase starts from, on the CPU, under the names of ModernBertForMaskedLM."""

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any] | None
    """`state`: parameter name -> {exp_avg, exp_avg_sq, step}; `param_groups`: as torch has them, with names."""
    step: int
    tokens: int
    """Tokens that the phase has trained on."""


def read_trainer_state(path: Path) -> TrainerState:
    """Raises UnusableState when the file is damaged or incomplete, UserError when others may have written it."""
    require_private(path)
    content = _load(path)
    try:
        state = content["state"]
        prefix = _prefix(state["model"])
        timestamp = state["timestamp"]["Timestamp"]
        return TrainerState(
            model={name.removeprefix(prefix): tensor for name, tensor in state["model"].items()},
            optimizer=_optimizer(state.get("optimizers"), prefix),
            step=timestamp["batch"],
            tokens=timestamp["token"],
        )
    except (KeyError, TypeError) as error:
        raise UnusableState(f"is not a training state (no {error})") from error


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
        with torch.serialization.safe_globals([*HARMLESS]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        # A type that is missing from HARMLESS is our mistake: called damage, it would discard every checkpoint.
        if "Unsupported global" in str(error):
            raise
        raise UnusableState(f"does not load ({type(error).__name__}: {str(error).partition('.')[0]})") from error


def _tensors(state: TrainerState) -> Iterator[tuple[str, Tensor]]:
    yield from state.model.items()
    for parameter, values in (state.optimizer or {}).get("state", {}).items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                yield f"optimizer {key} of {parameter}", value


def _prefix(model: Mapping[str, Tensor]) -> str:
    for name in model:
        if name.endswith(EMBEDDING):
            return name.removesuffix(EMBEDDING)
    raise KeyError(EMBEDDING)


def _optimizer(optimizers: Mapping[str, Any] | None, prefix: str) -> dict[str, Any] | None:
    """Composer keeps one entry a class of optimizer; there is one optimizer."""
    if not optimizers:
        return None
    (saved,) = optimizers.values()
    return {
        "state": {name.removeprefix(prefix): values for name, values in saved["state"].items()},
        "param_groups": [
            {**group, "params": [name.removeprefix(prefix) for name in group["params"]]}
            for group in saved["param_groups"]
        ],
    }
