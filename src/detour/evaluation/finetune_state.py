"""The state of a fine-tuning as one safetensors file: tensors by name, progress as JSON in the header.

The file cannot contain code, so it is safe to resume from a colleague's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from detour.files import atomic_writer

MODEL, BEST, OPTIMIZER = "model/", "best/", "optimizer/"


class UnusableState(Exception):
    """A file does not hold the state of a fine-tuning; the message says why."""


@dataclass(frozen=True, slots=True)
class FineTuningState:
    """Everything needed to resume. After reading, tensors are on the CPU."""

    progress: Mapping[str, Any]
    """Plain JSON."""
    model: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    """The weights with the best validation; empty before the first one."""
    optimizer: Mapping[int, Mapping[str, Tensor]]
    """Index of a parameter -> its moments. The optimizer's settings follow from the task."""


def write_state(path: Path, state: FineTuningState) -> None:
    tensors = {
        **{f"{MODEL}{name}": weight for name, weight in state.model.items()},
        **{f"{BEST}{name}": weight for name, weight in state.best.items()},
        **{
            f"{OPTIMIZER}{number}/{moment}": value
            for number, moments in state.optimizer.items()
            for moment, value in moments.items()
        },
    }
    apart = {
        name: tensor.to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }  # safetensors refuses shared memory
    with atomic_writer(path) as file:
        file.write(save(apart, {"progress": json.dumps(state.progress)}))


def read_state(path: Path) -> FineTuningState:
    """Read a state. Raises UnusableState if the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads((file.metadata() or {})["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except (SafetensorError, ValueError, KeyError) as error:
        raise UnusableState(f"{type(error).__name__}: {error}") from error
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(OPTIMIZER, tensors).items():
        number, _, moment = name.partition("/")
        optimizer.setdefault(int(number), {})[moment] = tensor
    return FineTuningState(progress, _under(MODEL, tensors), _under(BEST, tensors), optimizer)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
