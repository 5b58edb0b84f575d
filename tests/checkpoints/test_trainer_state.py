from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from detour.checkpoints.trainer_state import (
    FORMAT,
    TrainerState,
    UnusableState,
    problem,
    read_trainer_state,
    write_trainer_state,
)
from tests.checkpoints.tiny import STEPS, TOKENS, tiny_model, trained, trainer_state


@pytest.fixture
def state() -> TrainerState:
    model = tiny_model()
    return trainer_state(model, trained(model))


def written(tmp_path: Path, state: TrainerState) -> Path:
    path = tmp_path / "state.safetensors"
    write_trainer_state(path, state)
    return path


def saved(tmp_path: Path, content: Any) -> Path:
    """Save the state as earlier versions did."""
    path = tmp_path / "state.pt"
    torch.save(content, path)
    return path


def test_a_written_state_is_read_back(tmp_path: Path, state: TrainerState) -> None:
    read = read_trainer_state(written(tmp_path, state))
    assert (read.step, read.tokens) == (STEPS, TOKENS)
    torch.testing.assert_close(read.model, state.model, rtol=0, atol=0)
    assert read.optimizer is not None
    assert state.optimizer is not None
    torch.testing.assert_close(read.optimizer["state"], state.optimizer["state"], rtol=0, atol=0)
    assert read.optimizer["param_groups"] == state.optimizer["param_groups"]


def test_equal_states_are_equal_files(tmp_path: Path, state: TrainerState) -> None:
    assert len({written(tmp_path, state).read_bytes() for _ in range(5)}) == 1


def test_a_state_without_optimizer_is_read_as_such(tmp_path: Path, state: TrainerState) -> None:
    assert read_trainer_state(written(tmp_path, replace(state, optimizer=None))).optimizer is None


def test_a_good_state_has_no_problem(tmp_path: Path, state: TrainerState) -> None:
    assert problem(written(tmp_path, state)) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(tmp_path: Path, state: TrainerState, value: float) -> None:
    state.model["model.layers.2.mlp.Wo.weight"][3, 5] = value
    assert problem(written(tmp_path, state)) == "NaN or infinity in model.layers.2.mlp.Wo.weight"


def test_a_moment_that_is_not_finite_is_named(tmp_path: Path, state: TrainerState) -> None:
    assert state.optimizer is not None
    state.optimizer["state"]["head.dense.weight"]["exp_avg_sq"][0, 0] = float("nan")
    assert problem(written(tmp_path, state)) == "NaN or infinity in optimizer exp_avg_sq of head.dense.weight"


def test_a_state_of_an_earlier_version_is_read_the_same(tmp_path: Path, state: TrainerState) -> None:
    earlier = read_trainer_state(saved(tmp_path, {field.name: getattr(state, field.name) for field in fields(state)}))
    now = read_trainer_state(written(tmp_path, state))
    assert (earlier.step, earlier.tokens) == (now.step, now.tokens)
    torch.testing.assert_close(earlier.model, now.model, rtol=0, atol=0)
    assert earlier.optimizer is not None
    assert now.optimizer is not None
    torch.testing.assert_close(earlier.optimizer["state"], now.optimizer["state"], rtol=0, atol=0)
    assert earlier.optimizer["param_groups"] == now.optimizer["param_groups"]


def test_a_state_contains_tensors_and_json_and_nothing_executable(tmp_path: Path, state: TrainerState) -> None:
    with safe_open(written(tmp_path, state), framework="pt") as file:
        metadata = file.metadata()
        assert sorted(metadata) == ["format", "param_groups", "step", "tokens"]
        assert json.loads(metadata["param_groups"])[0]["betas"] == [0.9, 0.98]
        assert "model/head.dense.weight" in file.keys()  # noqa: SIM118


def test_a_state_that_others_can_write_is_read_by_a_colleague(tmp_path: Path, state: TrainerState) -> None:
    path = written(tmp_path, state)
    path.chmod(0o666)
    assert read_trainer_state(path).step == STEPS


def test_tied_weights_are_there_under_both_names(tmp_path: Path, state: TrainerState) -> None:
    read = read_trainer_state(written(tmp_path, state)).model
    assert read["decoder.weight"].equal(read["model.embeddings.tok_embeddings.weight"])


@pytest.mark.parametrize("name", ["state.pt", "state.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half an archive"])
def test_an_unreadable_file_does_not_load(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert "does not load" in (problem(path) or "")


def test_half_a_state_does_not_load(tmp_path: Path, state: TrainerState) -> None:
    path = written(tmp_path, state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "does not load" in (problem(path) or "")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"format": "pt"},
        {"format": FORMAT, "step": "1"},
        {"format": FORMAT, "step": "one", "tokens": "1"},
        {"format": FORMAT, "step": "-1", "tokens": "1"},
        {"format": FORMAT, "step": "1", "tokens": "1", "param_groups": "{"},
        {"format": FORMAT, "step": "1", "tokens": "1", "param_groups": "[1]"},
    ],
)
def test_other_safetensors_files_are_no_training_state(tmp_path: Path, metadata: dict[str, str]) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(save({"model/weight": torch.ones(1)}, metadata))
    assert "is not a training state" in (problem(path) or "")


@pytest.mark.parametrize("content", [{}, [1, 2], {"model": {}}])
def test_another_torch_file_is_no_training_state(tmp_path: Path, content: Any) -> None:
    assert "is not a training state" in (problem(saved(tmp_path, content)) or "")


class Payload:
    """What an attacker would put into a pickle."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": Payload(tmp_path / "ran"), "optimizer": None, "step": 1, "tokens": 1})
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        read_trainer_state(path)
    assert not (tmp_path / "ran").exists()


def test_an_unreadable_state_gives_the_reason(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"x")
    with pytest.raises(UnusableState, match="does not load"):
        read_trainer_state(tmp_path / "state.pt")
