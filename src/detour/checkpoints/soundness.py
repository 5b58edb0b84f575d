"""Check that a training state belongs to a model. Loading does not show this: torch casts dtypes and drops extra keys.

Each function returns one sentence about the first mismatch, or None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import ModernBertConfig, PreTrainedConfig

CONFIG = "config.json"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW stores for each weight, in its shape and dtype, in addition to the number of steps."""
INCIDENTAL = frozenset({"_name_or_path", "architectures", "dtype", "transformers_version"})
"""Keys of a config that describe how a model was saved, not what it computes."""


def config_problem(path: Path, expected: PreTrainedConfig) -> str | None:
    """Compare configs: heads, windows, rotary bases and norms show in no tensor's shape."""
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return f"{path.name} is missing"
    except orjson.JSONDecodeError as error:
        return f"{path.name} is not JSON ({error})"
    if not isinstance(content, dict) or content.get("model_type") != expected.model_type:
        return f"{path.name} is not that of a {expected.model_type} model"
    try:
        found = ModernBertConfig.from_dict(content).to_dict()
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{path.name} is not a valid config ({' '.join(str(error).split())[:200]})"
    wanted = expected.to_dict()
    for key in sorted((found.keys() | wanted.keys()) - INCIDENTAL):
        if found.get(key) != wanted.get(key):
            return f"{path.name} has {key} = {found.get(key)}, the phase started with {wanted.get(key)}"
    return None


def weights_problem(weights: Mapping[str, Tensor], model: nn.Module) -> str | None:
    expected = model.state_dict()
    if problem := _names_problem("weight", weights, expected):
        return problem
    for name, tensor in expected.items():
        if problem := _tensor_problem(name, weights[name], tensor):
            return problem
    first_of: dict[int, str] = {}
    for name, tensor in expected.items():
        first = first_of.setdefault(tensor.data_ptr(), name)
        if not torch.equal(weights[first], weights[name]):
            return f"{name} and {first} are one tensor in the model and differ in the checkpoint"
    return None


def optimizer_problem(optimizer: Mapping[str, Any] | None, model: nn.Module) -> str | None:
    """Check the optimizer against the weights of `model` that require gradients; frozen weights have no moments."""
    if optimizer is None:
        return "the optimizer's state is missing"
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    state, groups = optimizer["state"], optimizer["param_groups"]
    if problem := _names_problem("optimizer state", state, trained):
        return problem
    for name, parameter in trained.items():
        if problem := _moments_problem(name, state[name], parameter):
            return problem
    grouped = [name for group in groups for name in group.get("params", ())]
    if sorted(map(str, grouped)) != sorted(trained):
        return f"the optimizer's groups list {len(grouped)} weights, not each of the {len(trained)} trained ones once"
    if any(not isinstance(group.get("lr"), float | int) or group["lr"] < 0 for group in groups):
        return "the optimizer's groups have no learning rate"
    try:
        orjson.dumps(groups)
    except TypeError as error:
        return f"the optimizer's groups hold more than numbers and names ({error})"
    return None


def _moments_problem(name: str, moments: Mapping[str, Any], parameter: Tensor) -> str | None:
    if problem := _names_problem(f"moment of {name}", moments, (*MOMENTS, "step")):
        return problem
    for key in MOMENTS:
        if problem := _tensor_problem(f"optimizer {key} of {name}", moments[key], parameter):
            return problem
    if (moments["exp_avg_sq"] < 0).any():
        return f"optimizer exp_avg_sq of {name} has negative values"
    step = moments["step"]
    if not isinstance(step, Tensor) or step.numel() != 1 or step.is_complex():
        return f"optimizer step of {name} is not a tensor of one number"
    return None if float(step) > 0 else f"optimizer step of {name} is {float(step):g}"


def _names_problem(what: str, found: Iterable[str], expected: Iterable[str]) -> str | None:
    found, expected = set(map(str, found)), set(expected)
    if missing := sorted(expected - found):
        return f"{len(missing)} of {len(expected)} {what}s missing, the first is {missing[0]}"
    if unknown := sorted(found - expected):
        return f"{len(unknown)} unknown {what}s, the first is {unknown[0]}"
    return None


def _tensor_problem(name: str, found: Any, expected: Tensor) -> str | None:
    if not isinstance(found, Tensor):
        return f"{name} is a {type(found).__name__}, not a tensor"
    if found.shape != expected.shape:
        return f"{name} has the shape {tuple(found.shape)}, {tuple(expected.shape)} is expected"
    if found.dtype != expected.dtype:
        return f"{name} is {found.dtype}, {expected.dtype} is expected".replace("torch.", "")
    return None
