from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from detour.checkpoints.trainer_state import UnusableState, problem, read_trainer_state
from tests.checkpoints.tiny import STEPS, TOKENS, tiny_model, trained, trainer_state


@pytest.fixture
def state() -> dict[str, Any]:
    model = tiny_model()
    return trainer_state(model, trained(model))


def saved(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "state.pt"
    torch.save(content, path)
    return path


def test_names_are_those_of_the_plain_model(tmp_path: Path, state: dict[str, Any]) -> None:
    read = read_trainer_state(saved(tmp_path, state))
    assert (read.step, read.tokens) == (STEPS, TOKENS)
    assert set(read.model) == set(tiny_model().state_dict())
    parameters = {name for name, _ in tiny_model().named_parameters()}
    assert read.optimizer is not None
    assert set(read.optimizer["state"]) == parameters
    assert set(read.optimizer["param_groups"][0]["params"]) == parameters


def test_a_good_state_has_no_problem(tmp_path: Path, state: dict[str, Any]) -> None:
    assert problem(saved(tmp_path, state)) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(tmp_path: Path, state: dict[str, Any], value: float) -> None:
    state["state"]["model"]["model.layers.2.mlp.Wo.weight"][3, 5] = value
    assert problem(saved(tmp_path, state)) == "NaN or infinity in model.layers.2.mlp.Wo.weight"


def test_a_moment_that_is_not_finite_is_named(tmp_path: Path, state: dict[str, Any]) -> None:
    moments = state["state"]["optimizers"]["AdamW"]["state"]["head.dense.weight"]
    moments["exp_avg_sq"][0, 0] = float("nan")
    assert problem(saved(tmp_path, state)) == "NaN or infinity in optimizer exp_avg_sq of head.dense.weight"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half an archive"])
def test_what_torch_cannot_read_does_not_load(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    assert "does not load" in (problem(path) or "")


@pytest.mark.parametrize("content", [{}, [1, 2], {"state": {"model": {}}}])
def test_another_torch_file_is_no_training_state(tmp_path: Path, content: Any) -> None:
    assert "is not a training state" in (problem(saved(tmp_path, content)) or "")


def test_a_state_without_optimizer_is_read_as_such(tmp_path: Path, state: dict[str, Any]) -> None:
    del state["state"]["optimizers"]
    assert read_trainer_state(saved(tmp_path, state)).optimizer is None


class Payload:
    """What an attacker would put into a pickle."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path, state: dict[str, Any]) -> None:
    state["state"]["callbacks"] = Payload(tmp_path / "ran")
    path = saved(tmp_path, state)
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        read_trainer_state(path)
    assert not (tmp_path / "ran").exists()


def test_an_unreadable_state_says_why(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"x")
    with pytest.raises(UnusableState, match="does not load"):
        read_trainer_state(tmp_path / "state.pt")
