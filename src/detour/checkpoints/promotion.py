"""When a checkpoint becomes fit to build on.

It loads; it is at the planned token count; its weights and optimizer hold no NaN or infinity; config, weights and
optimizer are those of the model that its phase started from, tensor by tensor; its validation loss is finite and below
that of those weights, by more than the recipe's gate asks. The decision is `gates`, a pure function of figures;
`promote` obtains them and writes the result.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import ModernBertForMaskedLM

from detour.checkpoints.promoted import write_promoted
from detour.checkpoints.soundness import CONFIG, config_problem, optimizer_problem, weights_problem
from detour.checkpoints.trainer_state import TrainerState, UnusableState, first_not_finite, read_trainer_state
from detour.errors import PermanentFailure

CHECKPOINT = "checkpoint.pt"
"""Name of the trainer's state in the output of a pretrain stage; the model's config.json lies beside it."""

ValidationLoss = Callable[[ModernBertForMaskedLM], float]
"""Mean loss, in nats a predicted token, under the phase's objective on the whole validation split."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan and the recipe ask of the checkpoint."""

    steps: int
    tokens: int
    validation_loss_drop: float
    """Nats; the validation loss must have fallen by more."""


@dataclass(frozen=True, slots=True)
class Found:
    step: int
    tokens: int
    not_finite: str | None
    """First tensor with a NaN or an infinity."""
    validation_loss: float | None = None
    parent_validation_loss: float | None = None
    """Of the weights that the phase started from; both losses None while not measured."""


@dataclass(frozen=True, slots=True)
class Gate:
    name: str
    passed: bool
    arithmetic: str
    """One sentence with the figures that decided."""


def gates(found: Found, expected: Expected) -> list[Gate]:
    """Verdict on each condition; those on the losses are left out while these are not measured."""
    verdicts = [
        Gate(
            "tokens",
            (found.step, found.tokens) == (expected.steps, expected.tokens),
            f"trained on {found.tokens:,} tokens in {found.step:,} steps, "
            f"planned are {expected.tokens:,} in {expected.steps:,}",
        ),
        Gate(
            "finite",
            found.not_finite is None,
            f"NaN or infinity in {found.not_finite}"
            if found.not_finite
            else "no NaN or infinity in weights and optimizer",
        ),
    ]
    if found.validation_loss is not None and found.parent_validation_loss is not None:
        loss, parent = found.validation_loss, found.parent_validation_loss
        drop = parent - loss
        verdicts.append(
            Gate(
                "validation_loss",
                math.isfinite(loss) and drop > expected.validation_loss_drop,
                f"validation loss {parent:.4f} - {loss:.4f} = a drop of {drop:.4f} nats, "
                f"more than {expected.validation_loss_drop:g} is asked",
            )
        )
    return verdicts


def promote(
    pretrained: Path,
    output: Path,
    expected: Expected,
    validation_loss: ValidationLoss,
    parent: Callable[[], ModernBertForMaskedLM],
) -> dict[str, Any]:
    """Judge the checkpoint in the output of a pretrain stage and, when it passes, write what it leaves into `output`.

    `parent` makes the weights that the phase started from, and requires gradients of those that the phase trains.
    Returns the figures, for promotion.json. Raises PermanentFailure at the first failed gate, before anything is
    written.
    """
    state = _state(pretrained)
    found = Found(state.step, state.tokens, first_not_finite(state))
    _require(gates(found, expected))
    start = parent()
    model = _model(pretrained, state, start)
    found = Found(found.step, found.tokens, found.not_finite, validation_loss(model), validation_loss(start))
    verdicts = gates(found, expected)
    _require(verdicts)
    write_promoted(output, model, state.optimizer)
    return {**asdict(found), "parameters": model.num_parameters(), "gates": [asdict(gate) for gate in verdicts]}


def _require(verdicts: list[Gate]) -> None:
    for gate in verdicts:
        if not gate.passed:
            raise PermanentFailure(f"not promoted: {gate.arithmetic}")


def _state(pretrained: Path) -> TrainerState:
    path = pretrained / CHECKPOINT
    try:
        return read_trainer_state(path)
    except FileNotFoundError:
        raise PermanentFailure(f"not promoted: {path} is missing") from None
    except UnusableState as error:
        raise PermanentFailure(f"not promoted: {path} {error}") from error
    except pickle.UnpicklingError as error:
        raise PermanentFailure(f"not promoted: {path} holds what no training state holds ({_first(error)})") from error


def _model(pretrained: Path, state: TrainerState, start: ModernBertForMaskedLM) -> ModernBertForMaskedLM:
    problem = (
        config_problem(pretrained / CONFIG, start.config)
        or weights_problem(state.model, start)
        or optimizer_problem(state.optimizer, start)
    )
    if problem:
        raise PermanentFailure(f"not promoted: {pretrained / CHECKPOINT} does not fit its phase: {problem}")
    model = ModernBertForMaskedLM(start.config)
    model.load_state_dict(state.model)
    return model.eval()


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
