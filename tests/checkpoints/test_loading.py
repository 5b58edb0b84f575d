from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ModernBertForMaskedLM

from detour.checkpoints.loading import load_masked_lm
from detour.errors import PermanentFailure

WEIGHTS = "model.safetensors"
NORM = "model.final_norm.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> None:
    save_file(dict(change(load_file(folder / WEIGHTS))), folder / WEIGHTS, metadata={"format": "pt"})


def refusal(folder: Path) -> str:
    with pytest.raises(PermanentFailure) as caught:
        load_masked_lm(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_matching_weights_are_loaded_unchanged(published: Path) -> None:
    loaded, saved = load_masked_lm(published).state_dict(), load_file(published / WEIGHTS)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())


def test_weights_in_several_files_are_loaded(published: Path, tmp_path: Path) -> None:
    ModernBertForMaskedLM.from_pretrained(published).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(load_masked_lm(tmp_path).decoder.weight, load_masked_lm(published).decoder.weight)


def test_keys_under_another_prefix_are_refused_with_the_remedy(folder: Path) -> None:
    rewrite(folder, lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()})
    message = refusal(folder)
    assert "missing: decoder.bias" in message
    assert "unexpected: module.decoder.bias" in message
    assert "save them without the prefix `module.`" in message


def test_a_missing_layer_is_named(folder: Path) -> None:
    rewrite(folder, lambda weights: {name: t for name, t in weights.items() if "layers.3.mlp.Wo" not in name})
    assert "missing: model.layers.3.mlp.Wo.weight" in refusal(folder)


def test_an_additional_key_is_named(folder: Path) -> None:
    rewrite(folder, lambda weights: {**weights, "classifier.weight": torch.zeros(2, 32)})
    assert "unexpected: classifier.weight" in refusal(folder)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder: Path) -> None:
    rewrite(folder, lambda weights: {**weights, NORM: torch.zeros(31)})
    assert f"{NORM} is [31], not [32]" in refusal(folder)


def test_a_tensor_that_is_not_finite_is_named(folder: Path) -> None:
    rewrite(folder, lambda weights: {**weights, NORM: weights[NORM] * float("nan")})
    assert f"not finite: {NORM}" in refusal(folder)


def test_an_output_matrix_that_differs_from_the_tied_one_is_refused(folder: Path) -> None:
    rewrite(folder, lambda weights: {**weights, "decoder.weight": torch.zeros(97, 32)})
    assert "decoder.weight differs from the embeddings" in refusal(folder)


def test_integer_tensors_are_no_weights(folder: Path) -> None:
    rewrite(folder, lambda weights: {**weights, NORM: weights[NORM].to(torch.int8)})
    assert f"tensor {NORM} is I8" in refusal(folder)


def test_a_truncated_file_is_named_with_its_sizes(folder: Path) -> None:
    path = folder / WEIGHTS
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1000])
    assert f"{path}: cut short: {whole - 1000:,} bytes, its header describes {whole:,}" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"\x10" + bytes(7) + b"{", "cut short: its header"),
        (b"\x04" + bytes(7) + b"abcd", "not a safetensors file: its header cannot be read"),
        (b"\x2b" + bytes(7) + b'{"a":{"data_offsets":[0,""],"dtype":"F32"}}', "not a safetensors file: its header"),
        (POINTER.encode(), "a Git LFS pointer"),
    ],
    ids=["empty", "short header", "no JSON", "no numbers", "pointer"],
)
def test_a_file_without_weights_is_named_with_the_reason(folder: Path, content: bytes, reason: str) -> None:
    (folder / WEIGHTS).write_bytes(content)
    assert f"{folder / WEIGHTS}: {reason}" in refusal(folder)


def test_a_config_that_is_a_pointer_is_named(folder: Path) -> None:
    (folder / "config.json").write_text(POINTER)
    assert f"{folder / 'config.json'}: a Git LFS pointer" in refusal(folder)


def test_a_config_of_another_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    assert "is a bert, only ModernBERT" in refusal(folder)


def test_an_encoder_without_a_head_is_refused_with_the_options(folder: Path) -> None:
    ModernBertForMaskedLM.from_pretrained(folder).model.save_pretrained(folder)
    message = refusal(folder)
    assert "missing: decoder.bias, head.dense.weight, head.norm.weight" in message
    assert "`model.head: new`" in message


def test_a_new_head_depends_on_the_seed_and_leaves_the_encoder_unchanged(folder: Path) -> None:
    encoder = ModernBertForMaskedLM.from_pretrained(folder).model
    encoder.save_pretrained(folder)
    first, second, other = (load_masked_lm(folder, new_head_seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.head.dense.weight, second.head.dense.weight)
    assert not torch.equal(first.head.dense.weight, other.head.dense.weight)
    assert torch.equal(first.model.final_norm.weight, encoder.final_norm.weight)


def test_a_new_head_does_not_excuse_a_missing_layer(folder: Path) -> None:
    rewrite(folder, lambda weights: {name: t for name, t in weights.items() if "layers.3.mlp.Wo" not in name})
    with pytest.raises(PermanentFailure, match=r"missing: model\.layers\.3"):
        load_masked_lm(folder, new_head_seed=1)


def test_loading_draws_no_random_number(published: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_masked_lm(published, new_head_seed=3)
    assert torch.equal(torch.rand(1), expected)


def test_a_context_longer_than_the_published_one_is_kept_in_the_config(published: Path) -> None:
    assert load_masked_lm(published, context=512).config.max_position_embeddings == 512
    assert load_masked_lm(published, context=64).config.max_position_embeddings == 256
