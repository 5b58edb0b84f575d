from __future__ import annotations

import torch

from detour.config.models import Optimizer
from detour.pretraining.optimizer import build_optimizer
from detour.pretraining.state import copy_state
from tests.pretraining.tiny import tiny_model


def test_a_copy_of_the_state_does_not_change_as_training_continues() -> None:
    model = tiny_model().train()
    optimizer = build_optimizer(model, Optimizer(lr=0.1))
    ids = torch.arange(3, 50)[None]
    for _ in range(2):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state = copy_state(model, optimizer, 1, 47)
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        assert all(torch.equal(state.model[name], tensor) for name, tensor in before.items())
    assert not torch.equal(state.model["decoder.weight"], model.decoder.weight)
    assert state.optimizer is not None
    assert {float(moments["step"]) for moments in state.optimizer["state"].values()} == {1.0}


def test_tied_weights_are_copied_once() -> None:
    state = copy_state(model := tiny_model(), build_optimizer(model, Optimizer(lr=0.1)), 0, 0)
    embeddings = state.model["model.embeddings.tok_embeddings.weight"]
    assert state.model["decoder.weight"].data_ptr() == embeddings.data_ptr()
