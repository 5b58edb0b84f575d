"""Decoupled AdamW, frozen layers, and the optimizer state by parameter name.

State is keyed by name because the set of trained parameters may change between phases: a layer that was frozen has no
moments, and gets fresh ones once it is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ModernBertForMaskedLM

from detour.config.models import Freeze, Optimizer
from detour.errors import PermanentFailure

ADAMW_BYTES = 8
"""Bytes per trained weight of both moments, which the first step allocates."""


def freeze(model: ModernBertForMaskedLM, ranges: Iterable[Freeze]) -> None:
    """Freeze layers: no gradient, no moments, no weight decay. Freezing the embeddings freezes the tied output matrix.

    Raises PermanentFailure if the model has no such layer, or if nothing is left to train.
    """
    layers = model.model.layers
    for held in ranges:
        if held.last >= len(layers):
            raise PermanentFailure(
                f"freeze: there is no layer {held.last}, the model has layers 0 to {len(layers) - 1}"
            )
        for layer in layers[held.first : held.last + 1]:
            layer.requires_grad_(False)
        if held.embeddings:
            model.model.embeddings.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise PermanentFailure("freeze: every weight is frozen, nothing is left to train")


def build_optimizer(model: nn.Module, settings: Optimizer) -> torch.optim.AdamW:
    """AdamW over the trained parameters, without decay for one-dimensional ones (biases and norms).

    Decoupled as in Composer's DecoupledAdamW, where a step at rate lr shrinks a weight by weight_decay * lr / peak lr.
    torch's AdamW multiplies weight_decay by lr; dividing it by the peak once is equivalent and keeps the fused kernel.
    """
    trained = [parameter for _, parameter in _trained(model)]
    groups = [
        {
            "params": [p for p in trained if p.ndim >= 2],
            "weight_decay": settings.weight_decay / settings.lr,
        },
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """`state`: parameter name -> {step, exp_avg, exp_avg_sq}; `param_groups`: torch's, with parameters by name."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in _trained(model)}
    return {
        "state": {names[parameter]: dict(moments) for parameter, moments in optimizer.state.items()},
        "param_groups": [
            {**group, "params": [names[parameter] for parameter in group["params"]]} for group in optimizer.param_groups
        ],
    }


def load_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Load the moments of the trained parameters; those of others are ignored, missing ones start fresh.

    Moments are copied, as they may be memory-mapped from a file that is about to be removed. Learning rate, betas and
    decay remain those of `optimizer`, since the recipe defines them. (Composer restores them with the state, and a
    schedule then multiplies a rate that was already lowered.)
    """
    names = {parameter: name for name, parameter in _trained(model)}
    current = optimizer.state_dict()
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    moments = {
        index: {key: moment.clone() for key, moment in state[names[parameter]].items()}
        for index, parameter in enumerate(parameters)
        if names[parameter] in state
    }
    optimizer.load_state_dict({"state": moments, "param_groups": current["param_groups"]})


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
