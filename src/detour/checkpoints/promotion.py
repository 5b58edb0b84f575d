"""Promote a checkpoint, so that later stages may build on it.

The checkpoint must load, be at the planned token count, contain no NaN or infinity, match the model that its phase
started from, tensor by tensor (config, weights and optimizer), and pass the recipe's gates. The decisions are pure
functions of figures (`gates`); `promote` obtains these, cheap ones first, and writes the result.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
from transformers import ModernBertForMaskedLM

from detour.checkpoints.gates import (
    Expected,
    Found,
    Gatekeeper,
    Verdict,
    history_gates,
    identity_gates,
    loss_gates,
    probe_gates,
)
from detour.checkpoints.promoted import write_promoted
from detour.checkpoints.soundness import CONFIG, config_problem, optimizer_problem, weights_problem
from detour.checkpoints.trainer_state import TrainerState, UnusableState, first_not_finite, read_trainer_state
from detour.errors import PermanentFailure

CHECKPOINT, EARLIER_CHECKPOINT = "checkpoint.safetensors", "checkpoint.pt"
"""Name of the trainer's state in the output of a pretrain stage, now and in earlier versions; the model's config.json
is next to it."""
HISTORY = "history.json"
"""File next to it with `gradient_norm`: one value per step, null for a skipped step."""

Measure = Callable[[ModernBertForMaskedLM], float]
"""Measures a model. A validation loss is the mean in nats per predicted token, under the phase's objective, on the
whole validation split; a probe's score is between 0 and 1."""


def promote(
    pretrained: Path,
    output: Path,
    expected: Expected,
    validation_loss: Measure,
    parent: Callable[[], ModernBertForMaskedLM],
    probe: Measure | None = None,
    gatekeeper: Gatekeeper | None = None,
) -> dict[str, Any]:
    """Judge the checkpoint in the output of a pretrain stage and, if it passes, write the promoted model to `output`.

    `parent` returns the model that the phase started from, with `requires_grad` set on the weights that the phase
    trains. Returns the figures, for promotion.json. Raises PermanentFailure at the first failed gates, before anything
    is written.
    """
    gatekeeper, gate = gatekeeper or Gatekeeper(), expected.gate
    state = _state(pretrained)
    found = Found(state.step, state.tokens, first_not_finite(state), _gradient_norms(pretrained))
    gatekeeper.require(identity_gates(found, expected))
    gatekeeper.require(history_gates(found, gate))
    start = parent()
    model = _model(pretrained, state, start, gatekeeper)
    found = replace(found, validation_loss=validation_loss(model), parent_validation_loss=validation_loss(start))
    gatekeeper.require(loss_gates(found, gate))
    if gate.probe is not None and probe is not None:
        found = replace(found, probe=probe(model))
        gatekeeper.require(probe_gates(found, gate))
    write_promoted(output, model, state.optimizer)
    figures = {key: value for key, value in asdict(found).items() if key != "gradient_norms"}
    return {
        **figures,
        "parameters": model.num_parameters(),
        "gates": [asdict(verdict) for verdict in gatekeeper.verdicts],
    }


def checkpoint_file(pretrained: Path) -> Path:
    """Return the trainer's state file, that of an earlier version only if there is no other."""
    earlier = pretrained / EARLIER_CHECKPOINT
    return earlier if earlier.exists() and not (pretrained / CHECKPOINT).exists() else pretrained / CHECKPOINT


def _gradient_norms(pretrained: Path) -> list[float | None] | None:
    """Return the gradient norms, None if the training (of an earlier version) recorded none."""
    try:
        norms = orjson.loads((pretrained / HISTORY).read_bytes())["gradient_norm"]
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    is_history = isinstance(norms, list) and all(norm is None or isinstance(norm, int | float) for norm in norms)
    return norms if is_history else None


def _state(pretrained: Path) -> TrainerState:
    path = checkpoint_file(pretrained)
    try:
        return read_trainer_state(path)
    except FileNotFoundError:
        raise PermanentFailure(f"not promoted: {path} is missing") from None
    except UnusableState as error:
        raise PermanentFailure(f"not promoted: {path} {error}") from error
    except pickle.UnpicklingError as error:
        raise PermanentFailure(
            f"not promoted: {path} holds what no training state holds ({_first_line(error)})"
        ) from error


def _model(
    pretrained: Path, state: TrainerState, start: ModernBertForMaskedLM, gatekeeper: Gatekeeper
) -> ModernBertForMaskedLM:
    problem = (
        config_problem(pretrained / CONFIG, start.config)
        or weights_problem(state.model, start)
        or optimizer_problem(state.optimizer, start)
    )
    fits = "config, weights and optimizer are those of the model that the phase started from"
    misfit = f"{checkpoint_file(pretrained)} does not fit its phase: {problem}"
    gatekeeper.require([Verdict("model", problem is None, misfit if problem else fits)])
    model = ModernBertForMaskedLM(start.config)
    model.load_state_dict(state.model)
    return model.eval()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
