"""The complete state of a training between two steps: weights, optimizer moments and position.

The position is the number of steps done. Learning rate, rows and random numbers of a step are pure functions of it and
of the recipe, so there is nothing else to restore.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ModernBertForMaskedLM

from detour.checkpoints.trainer_state import TrainerState, read_trainer_state
from detour.pretraining.optimizer import load_optimizer_state, optimizer_state


def copy_state(model: ModernBertForMaskedLM, optimizer: torch.optim.Optimizer, step: int, tokens: int) -> TrainerState:
    """Copy the state to the CPU, independent of the running training; tied weights stay tied."""
    copies: dict[tuple[int, torch.Size], Tensor] = {}
    return TrainerState(
        _copied(model.state_dict(), copies), _copied(optimizer_state(model, optimizer), copies), step, tokens
    )


def _copied(value: Any, copies: dict[tuple[int, torch.Size], Tensor]) -> Any:
    if isinstance(value, Tensor):
        place = (value.data_ptr(), value.shape)
        if place not in copies:
            copies[place] = value.detach().to("cpu", copy=True)
        return copies[place]
    if isinstance(value, Mapping):
        return {key: _copied(part, copies) for key, part in value.items()}
    return [_copied(part, copies) for part in value] if isinstance(value, list) else value


def restore_state(path: Path, model: ModernBertForMaskedLM, optimizer: torch.optim.Optimizer) -> None:
    """Load weights and moments into the model and optimizer, on their current devices."""
    state = read_trainer_state(path)
    model.load_state_dict(state.model)
    if state.optimizer is not None:
        load_optimizer_state(model, optimizer, state.optimizer["state"])
