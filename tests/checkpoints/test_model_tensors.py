"""The check of a folder's headers on the login node agrees with that of the job, in the same words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ModernBertConfig, ModernBertForMaskedLM

from detour.checkpoints.loading import load_masked_lm
from detour.checkpoints.model_tensors import DEFAULTS, INDEX, WEIGHTS, expected_shapes, tensors_problem
from detour.errors import PermanentFailure

NORM = "model.final_norm.weight"
Weights = dict[str, Tensor]
CHANGES: dict[str, Callable[[Weights], Weights]] = {
    "as it is": lambda weights: weights,
    "with its output matrix": lambda w: {**w, "decoder.weight": w["model.embeddings.tok_embeddings.weight"].clone()},
    "with its output matrix alone": lambda w: {
        "decoder.weight" if "tok_embeddings" in name else name: tensor for name, tensor in w.items()
    },
    "under another prefix": lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()},
    "without a layer": lambda weights: {name: t for name, t in weights.items() if "layers.3." not in name},
    "without two norms": lambda weights: {name: t for name, t in weights.items() if "norm.weight" not in name},
    "with a classifier": lambda weights: {**weights, "classifier.weight": torch.zeros(2, 32)},
    "with another shape": lambda weights: {**weights, NORM: torch.zeros(31)},
    "an encoder alone": lambda w: {n.removeprefix("model."): t for n, t in w.items() if n.startswith("model.")},
    "an encoder with its prefix": lambda w: {name: t for name, t in w.items() if name.startswith("model.")},
    "an encoder and half a head": lambda w: {name: t for name, t in w.items() if not name.startswith("head.")},
    "nothing": lambda weights: {"x": weights[NORM]},
}
CONFIGS = {
    "as published": {},
    "with biases": {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True},
    "with an output of its own": {"tie_word_embeddings": False, "decoder_bias": False},
}


def problem_of_the_job(folder: Path, *, with_head: bool) -> str | None:
    try:
        load_masked_lm(folder, new_head_seed=None if with_head else 1)
    except PermanentFailure as error:
        return str(error).removeprefix("model ")
    return None


@pytest.mark.parametrize("with_head", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_the_check_at_planning_agrees_with_that_of_the_job(change: str, with_head: bool, folder: Path) -> None:
    save_file(CHANGES[change](load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})
    assert tensors_problem(folder, with_head=with_head) == problem_of_the_job(folder, with_head=with_head)


@pytest.mark.parametrize("change", CONFIGS)
def test_the_expected_shapes_equal_those_of_transformers(change: str, published: Path) -> None:
    config = ModernBertConfig.from_pretrained(published, **CONFIGS[change])
    model = ModernBertForMaskedLM(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert expected_shapes(config.to_dict()) == shapes


def test_keys_missing_in_a_config_have_the_defaults_of_transformers() -> None:
    made = ModernBertConfig().to_dict()
    assert {key: made[key] for key in DEFAULTS} == DEFAULTS


def test_weights_in_several_files_are_judged_together(published: Path, tmp_path: Path) -> None:
    ModernBertForMaskedLM.from_pretrained(published).save_pretrained(tmp_path, max_shard_size="20KB")
    assert tensors_problem(tmp_path, with_head=True) is None
    index = json.loads((tmp_path / INDEX).read_bytes())
    (tmp_path / index["weight_map"][NORM]).unlink()
    assert "cannot be loaded ([Errno 2] No such file" in str(tensors_problem(tmp_path, with_head=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a model's config"),
        ("[]", "is not a model's config"),
        ('{"model_type": "bert"}', "is a bert, only ModernBERT"),
        ('{"model_type": "modernbert", "num_hidden_layers": 10000000000}', "cannot be loaded (10,000,000,000 layers)"),
        ('{"model_type": "modernbert", "hidden_size": null}', "cannot be loaded"),
    ],
)
def test_an_invalid_config_is_named_with_the_reason(content: str, message: str, folder: Path) -> None:
    (folder / "config.json").write_text(content)
    assert message in str(tensors_problem(folder, with_head=True))


def test_a_folder_without_a_config_is_reported(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert tensors_problem(folder, with_head=True) == f"{folder}: has no config.json"
