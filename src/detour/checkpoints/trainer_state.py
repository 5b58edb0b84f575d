"""The state of a training between two steps, as one safetensors file with the rest as JSON in its header.

Tensors are `model/NAME` and `optimizer/NAME//MOMENT`; the metadata holds `step`, `tokens` and the optimizer's
`param_groups`. The file contains no code, so colleagues may resume from it. Earlier versions wrote pickles (`.pt`):
these are read without executing their content, and only if no one else can have written them.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from detour.checkpoints.trust import open_private
from detour.safetensors_header import write_ordered

LOAD_ERRORS = (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError)
"""Errors that torch raises for a truncated, changed or unrelated file."""
PICKLE = ".pt"
FORMAT = "detour training state 1"
MODEL, OPTIMIZER, MOMENT = "model/", "optimizer/", "//"


class UnusableState(Exception):
    """A file does not hold a training state; the message says why."""


@dataclass(frozen=True, slots=True)
class TrainerState:
    """A training state, by the parameter names of ModernBertForMaskedLM; on the CPU when read back."""

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any] | None
    """`state`: parameter name -> {exp_avg, exp_avg_sq, step}; `param_groups`: as in torch, with names."""
    step: int
    tokens: int
    """Tokens that the phase has trained on."""


def write_trainer_state(path: Path, state: TrainerState) -> None:
    """Write a training state. Raises TypeError for a moment that is not a tensor."""
    tensors = {f"{MODEL}{name}": tensor for name, tensor in state.model.items()}
    metadata = {"format": FORMAT, "step": str(state.step), "tokens": str(state.tokens)}
    if state.optimizer is not None:
        metadata["param_groups"] = json.dumps(state.optimizer["param_groups"])
        for parameter, moments in state.optimizer["state"].items():
            tensors |= {f"{OPTIMIZER}{parameter}{MOMENT}{key}": tensor for key, tensor in moments.items()}
    content = save(_apart(tensors), metadata)
    with path.open("wb") as file:  # not `save_file`, which replaces the file at the path
        write_ordered(file, content)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tied weights, which the format stores once per name."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        apart[name] = tensor.clone() if tensor.data_ptr() in seen else tensor.contiguous()
        seen.add(tensor.data_ptr())
    return apart


def read_trainer_state(path: Path) -> TrainerState:
    """Read a training state. Raises UnusableState if it is damaged; UserError for a pickle that others may write to."""
    if path.suffix != PICKLE:
        state = _read(path)
    else:
        try:
            state = TrainerState(**_unpickled(path))
        except TypeError as error:
            raise UnusableState(f"is not a training state ({error})") from error
    if reason := _malformed(state):
        raise UnusableState(f"is not a training state ({reason})")
    return state


def _read(path: Path) -> TrainerState:
    """Read a safetensors file. Raises UnusableState."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except FileNotFoundError:
        raise
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise UnusableState(f"does not load ({type(error).__name__}: {str(error).partition('.')[0]})") from error
    if metadata.get("format") != FORMAT:
        raise UnusableState("is not a training state (its header does not say so)")
    try:
        groups = json.loads(metadata["param_groups"]) if "param_groups" in metadata else None
        step, tokens = (_count(metadata[name]) for name in ("step", "tokens"))
    except (KeyError, ValueError) as error:
        raise UnusableState(f"is not a training state ({error} in its header)") from error
    moments: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(OPTIMIZER):
            parameter, _, key = name.removeprefix(OPTIMIZER).rpartition(MOMENT)
            moments.setdefault(parameter, {})[key] = tensor
    model = {name.removeprefix(MODEL): tensor for name, tensor in tensors.items() if name.startswith(MODEL)}
    optimizer = None if groups is None else {"state": moments, "param_groups": _with_tuples(groups)}
    return TrainerState(model, optimizer, step, tokens)


def _count(text: str) -> Any:
    """Parse a count; other text is returned unchanged, to be refused by `_malformed`."""
    return int(text) if text.isdecimal() else text


def _with_tuples(groups: Any) -> Any:
    """Restore AdamW's betas to tuples, which JSON turned into lists."""
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return groups
    return [
        {key: tuple(value) if key == "betas" and isinstance(value, list) else value for key, value in group.items()}
        for group in groups
    ]


def problem(path: Path) -> str | None:
    """Return why training cannot resume from the file, None if it can."""
    try:
        state = read_trainer_state(path)
    except UnusableState as error:
        return str(error)
    name = first_not_finite(state)
    return f"NaN or infinity in {name}" if name else None


def first_not_finite(state: TrainerState) -> str | None:
    """Return the name of the first tensor or number, weights first, with NaN or infinity, if any."""
    return next((name for name, value in _values(state) if not _is_finite(value)), None)


def _malformed(state: TrainerState) -> str | None:
    """Return what differs in type from what this module writes, None if nothing does; values are not checked."""
    if not _is_mapping(state.model, Tensor) or not state.model:
        return "its model is not a mapping of names to tensors"
    if state.optimizer is not None and not _is_optimizer(state.optimizer):
        return "its optimizer is not a mapping of state and param_groups"
    if any(type(count) is not int or count < 0 for count in (state.step, state.tokens)):
        return f"step {state.step!r} and tokens {state.tokens!r} are not counts"
    if odd := next(
        (name for name, value in _values(state) if isinstance(value, Tensor) and not _is_plain(value)), None
    ):
        return f"{odd} is not a dense tensor on the CPU"
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


def _unpickled(path: Path) -> Any:
    try:
        with open_private(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        # A disallowed type is the writer's mistake: treating it as damage would discard every checkpoint.
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
