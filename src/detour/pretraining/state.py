"""The complete state of a training between two steps, as one file.

Weights, moments and the position. The position is the number of steps done: the learning rate, the rows to read next
and the random numbers of a step are pure functions of it and of the recipe, so there is nothing else to restore.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ModernBertForMaskedLM

from detour.checkpoints.trainer_state import TrainerState, read_trainer_state, write_trainer_state
from detour.pretraining.optimizer import load_optimizer_state, optimizer_state


def write_state(
    path: Path, model: ModernBertForMaskedLM, optimizer: torch.optim.Optimizer, step: int, tokens: int
) -> None:
    state = TrainerState(model.state_dict(), optimizer_state(model, optimizer), step, tokens)
    write_trainer_state(path, state)


def restore_state(path: Path, model: ModernBertForMaskedLM, optimizer: torch.optim.Optimizer) -> TrainerState:
    """Put weights and moments back, onto the devices that model and optimizer are on."""
    state = read_trainer_state(path)
    model.load_state_dict(state.model)
    if state.optimizer is not None:
        load_optimizer_state(model, optimizer, state.optimizer["state"])
    return state
