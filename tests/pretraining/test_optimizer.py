from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import ModernBertForMaskedLM

from detour.config.models import Freeze, Optimizer
from detour.errors import PermanentFailure
from detour.pretraining.composer_seam import _import_composer
from detour.pretraining.optimizer import (
    build_optimizer,
    freeze,
    load_optimizer_state,
    optimizer_state,
    set_lr,
)
from tests.pretraining.tiny import tiny_model

SETTINGS = Optimizer(lr=2e-3, weight_decay=0.01)


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, rates: list[float], seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for rate in rates:
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        set_lr(optimizer, rate)
        optimizer.step()


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_weight_decay_is_decoupled_as_in_composer() -> None:
    _import_composer()
    from composer.optim import DecoupledAdamW

    ours, theirs = nn.Linear(7, 5, bias=False), nn.Linear(7, 5, bias=False)
    theirs.load_state_dict(ours.state_dict())
    rates = [2e-3, 1e-3, 5e-4, 2e-4]
    take_steps(ours, build_optimizer(ours, SETTINGS), rates)
    reference = DecoupledAdamW(
        theirs.parameters(), lr=2e-3, betas=SETTINGS.betas, eps=SETTINGS.eps, weight_decay=SETTINGS.weight_decay
    )
    take_steps(theirs, reference, rates)
    torch.testing.assert_close(ours.weight, theirs.weight, atol=1e-7, rtol=1e-6)


def test_biases_and_norms_are_not_decayed() -> None:
    model = tiny_model(attention_bias=True, norm_bias=True)
    optimizer = build_optimizer(model, SETTINGS)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in decayed}
    others = {name for name, _ in model.named_parameters()} - names
    assert all("norm" in name or name.endswith("bias") for name in others)
    assert not any("norm" in name or name.endswith("bias") for name in names)
    assert {"model.embeddings.tok_embeddings.weight", "model.layers.0.mlp.Wi.weight"} <= names


def trained_names(model: ModernBertForMaskedLM) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_frozen_layers_get_no_gradient_moments_or_decay() -> None:
    model = tiny_model()
    everything = trained_names(model)
    freeze(model, [Freeze(first=0, last=1), Freeze(first=3, last=3)])
    held = everything - trained_names(model)
    assert {name.split(".")[2] for name in held} == {"0", "1", "3"}
    optimizer = build_optimizer(model, SETTINGS)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(everything) - len(held)


def test_freezing_embeddings_freezes_the_tied_output_matrix() -> None:
    model = tiny_model()
    freeze(model, [Freeze(first=0, last=0, embeddings=True)])
    assert not model.decoder.weight.requires_grad
    assert model.decoder.bias.requires_grad


def test_freezing_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(PermanentFailure, match="no layer 4, the model has layers 0 to 3"):
        freeze(tiny_model(), [Freeze(first=2, last=4)])


def test_optimizer_state_is_matched_by_name_and_leaves_the_learning_rate_unchanged() -> None:
    model = tiny_model()
    optimizer = build_optimizer(model, SETTINGS)
    take_steps(model, optimizer, [2e-3, 1e-5])
    state = optimizer_state(model, optimizer)["state"]
    assert set(state) == trained_names(model)

    resumed = tiny_model()
    resumed.load_state_dict(model.state_dict())
    fresh = build_optimizer(resumed, SETTINGS)
    load_optimizer_state(resumed, fresh, state)
    assert {group["lr"] for group in fresh.param_groups} == {2e-3}
    take_steps(model, optimizer, [1e-3], seed=1)
    take_steps(resumed, fresh, [1e-3], seed=1)
    assert torch.equal(weights(model), weights(resumed))


def test_unfrozen_layers_start_with_fresh_moments() -> None:
    before = tiny_model()
    freeze(before, [Freeze(first=0, last=0)])
    optimizer = build_optimizer(before, SETTINGS)
    take_steps(before, optimizer, [1e-3])
    state = optimizer_state(before, optimizer)["state"]
    after = tiny_model()
    freeze(after, [Freeze(first=2, last=2)])
    thawed = build_optimizer(after, SETTINGS)
    load_optimizer_state(after, thawed, state)
    carried = set(optimizer_state(after, thawed)["state"])
    assert carried == set(state) & trained_names(after)
    assert not any(".layers.0." in name or ".layers.2." in name for name in carried)
    take_steps(after, thawed, [1e-3])
    assert set(optimizer_state(after, thawed)["state"]) == trained_names(after)
