from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    ModernBertConfig,
    ModernBertForMaskedLM,
)
from transformers import PreTrainedTokenizerFast as FastTokenizer

from detour.cards.exported import export_card as model_card
from detour.checkpoints.export import export
from detour.corpus.tokenizer import load_tokenizer
from detour.errors import PermanentFailure
from tests.checkpoints.tiny import tiny_model

SENTENCES = [
    "Le patient présente une fracture aiguë du col du fémur.",
    "Compte rendu d'hospitalisation du patient admis pour décompensation cardiaque.",
    "Infarctus aigu du myocarde, sans complication.",
]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
VOCABULARY = 320


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bpe = Tokenizer(BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = ByteLevel()
    alphabet = ByteLevel.alphabet()
    bpe.train_from_iterator(SENTENCES, BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet))
    bpe.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    names = {"pad": "<pad>", "bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
    fast = FastTokenizer(tokenizer_object=bpe, **{f"{name}_token": token for name, token in names.items()})
    folder = tmp_path_factory.mktemp("tokenizer")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture
def promoted(tmp_path: Path) -> Path:
    """The weights are large enough for a wrong one to show in the logits."""
    model = tiny_model(vocabulary=VOCABULARY)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(tmp_path / "promoted")
    return tmp_path / "promoted"


def documents(tokenizer: Path) -> list[Tensor]:
    """One document is shorter and one longer than the window of the local layers."""
    encode = AutoTokenizer.from_pretrained(tokenizer)
    return [torch.tensor(encode(text)["input_ids"]) for text in (SENTENCES[0], " ".join(SENTENCES * 3))]


def trained_logits(model: ModernBertForMaskedLM, ids: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids[None]).logits[0]
    return logits


def run(promoted: Path, tokenizer: Path, output: Path, dtype: str = "bfloat16") -> dict[str, Any]:
    loaded = load_tokenizer(str(tokenizer))
    return export(promoted, loaded, output, dtype, documents(tokenizer), trained_logits)


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_the_folder_is_the_trained_model_in_the_dtype_of_the_recipe(
    promoted: Path, tokenizer: Path, tmp_path: Path, dtype: str, rounding: float
) -> None:
    record = run(promoted, tokenizer, tmp_path / "output", dtype)
    assert record == json.loads((tmp_path / "output" / "export.json").read_text()) | {"unequal_tensors": ()}
    assert record["tolerances"] == {"conversion": 1e-4, "rounding": rounding}
    assert record["conversion"] <= 1e-4
    assert (0 < record["rounding"] <= rounding) if dtype == "bfloat16" else record["rounding"] <= rounding

    stored, trained = load_file(tmp_path / "output" / "model.safetensors"), load_file(promoted / "model.safetensors")
    assert record["tensors"] == len(trained) > 20
    for name, tensor in trained.items():
        assert stored[name].dtype == getattr(torch, dtype)
        assert stored[name].equal(tensor.to(stored[name].dtype))


@pytest.mark.parametrize("pooling", [None, "mean"])
def test_a_classifier_loaded_from_the_folder_has_the_settings_of_the_recipe(
    promoted: Path, tokenizer: Path, tmp_path: Path, pooling: str | None
) -> None:
    output, rows = tmp_path / "output", documents(tokenizer)
    export(promoted, load_tokenizer(str(tokenizer)), output, "bfloat16", rows, trained_logits, pooling)
    own = AutoConfig.from_pretrained(promoted).classifier_pooling
    assert AutoConfig.from_pretrained(output).classifier_pooling == (pooling or own)


def test_the_config_describes_the_folder(promoted: Path, tokenizer: Path, tmp_path: Path) -> None:
    run(promoted, tokenizer, tmp_path / "output")
    config = json.loads((tmp_path / "output" / "config.json").read_text())
    assert config["architectures"] == ["ModernBertForMaskedLM"]
    assert config["model_type"] == "modernbert"
    assert config["dtype"] == "bfloat16"
    assert [config[f"{name}_token_id"] for name in ("pad", "bos", "cls", "eos", "sep")] == [0, 1, 1, 2, 2]
    assert AutoTokenizer.from_pretrained(tmp_path / "output").model_max_length == config["max_position_embeddings"]


def test_older_releases_of_transformers_find_their_keys(tokenizer: Path, tmp_path: Path) -> None:
    config = tiny_model(vocabulary=VOCABULARY).config.to_dict() | {"layer_types": None, "rope_parameters": None}
    config |= {"global_attn_every_n_layers": 2, "global_rope_theta": 50000.0, "local_rope_theta": 20000.0}
    ModernBertForMaskedLM(ModernBertConfig(**config)).save_pretrained(tmp_path / "promoted")
    run(tmp_path / "promoted", tokenizer, tmp_path / "output")
    written = json.loads((tmp_path / "output" / "config.json").read_text())
    assert written["layer_types"] == ["full_attention", "sliding_attention"] * 2
    assert written["global_attn_every_n_layers"] == 2
    assert (written["global_rope_theta"], written["local_rope_theta"]) == (50000.0, 20000.0)
    assert AutoConfig.from_pretrained(tmp_path / "output").rope_parameters == written["rope_parameters"]
    tokenizer_config = json.loads((tmp_path / "output" / "tokenizer_config.json").read_text())
    assert tokenizer_config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer_config["model_input_names"] == ["input_ids", "attention_mask"]


def test_the_mask_example_of_the_model_card_works(promoted: Path, tokenizer: Path, tmp_path: Path) -> None:
    run(promoted, tokenizer, tmp_path / "output")
    model_id = tmp_path / "output"
    encode = AutoTokenizer.from_pretrained(model_id)
    model = AutoModelForMaskedLM.from_pretrained(model_id)

    inputs = encode("Le patient présente une <mask> aiguë du myocarde.", return_tensors="pt")
    outputs = model(**inputs)

    masked_index = inputs["input_ids"][0].tolist().index(encode.mask_token_id)
    predicted_token_id = outputs.logits[0, masked_index].argmax(axis=-1)
    assert isinstance(encode.decode(predicted_token_id), str)
    assert outputs.logits.shape == (1, inputs["input_ids"].shape[1], VOCABULARY)


def test_the_encoder_example_of_the_model_card_works(promoted: Path, tokenizer: Path, tmp_path: Path) -> None:
    run(promoted, tokenizer, tmp_path / "output")
    model_id = tmp_path / "output"
    encode = AutoTokenizer.from_pretrained(model_id)
    model = AutoModel.from_pretrained(model_id)

    inputs = encode(SENTENCES[1], return_tensors="pt", max_length=8192, truncation=True)
    outputs = model(**inputs)
    assert set(inputs) == {"input_ids", "attention_mask"}
    assert outputs.last_hidden_state.shape == (1, inputs["input_ids"].shape[1], 32)
    assert torch.isfinite(outputs.last_hidden_state).all()


def test_logits_with_nan_are_refused(promoted: Path, tokenizer: Path, tmp_path: Path) -> None:
    weights = load_file(promoted / "model.safetensors")
    weights["model.layers.1.mlp.Wo.weight"][:] = 1e38
    save_file(weights, promoted / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PermanentFailure, match="the trained model's logits hold NaN"):
        run(promoted, tokenizer, tmp_path / "output")


def lost(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.Wo.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def swapped(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    one, other = "model.layers.1.mlp.Wo.weight", "model.layers.2.mlp.Wo.weight"
    weights[one], weights[other] = weights[other], weights[one]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def rounded_twice(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor.to(torch.float16).to(tensor.dtype) for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def another_window(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    config.local_attention = 4
    config.save_pretrained(folder)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lost, r"1 of .* stored tensors are not the trained ones, the first is model\.layers\.1\.mlp\.Wo\.weight"),
        (swapped, r"2 of .* stored tensors"),
        (rounded_twice, "stored tensors are not the trained ones"),
        (another_window, "conversion changes the logits by"),
    ],
)
def test_a_faulty_conversion_is_refused(
    promoted: Path,
    tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Path], None],
    message: str,
) -> None:
    save = ModernBertForMaskedLM.save_pretrained

    def save_with_fault(model: ModernBertForMaskedLM, folder: Path) -> None:
        save(model, folder)
        fault(folder)

    monkeypatch.setattr(ModernBertForMaskedLM, "save_pretrained", save_with_fault)
    with pytest.raises(PermanentFailure, match=message):
        run(promoted, tokenizer, tmp_path / "output", "float32")


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    tiny_model(vocabulary=97).save_pretrained(tmp_path / "promoted")
    with pytest.raises(PermanentFailure, match=r"tokenizer has ids up to .*, the model knows 97 tokens"):
        run(tmp_path / "promoted", tokenizer, tmp_path / "output")


def test_a_tokenizer_with_gaps_in_its_ids_needs_rows_up_to_the_largest(tokenizer: Path, tmp_path: Path) -> None:
    file = tokenizer / "tokenizer.json"
    written = json.loads(file.read_text())
    written["model"]["vocab"]["Ġpatient"] = VOCABULARY
    holed = tmp_path / "holed"
    shutil.copytree(tokenizer, holed)
    (holed / "tokenizer.json").write_text(json.dumps(written))
    assert load_tokenizer(str(holed)).vocab_size < VOCABULARY
    tiny_model(vocabulary=VOCABULARY).save_pretrained(tmp_path / "promoted")
    with pytest.raises(PermanentFailure, match="tokenizer has ids up to 320, the model knows 320 tokens"):
        run(tmp_path / "promoted", holed, tmp_path / "output")


def test_the_folder_encloses_texts_in_the_special_tokens_of_the_corpus(
    promoted: Path, tokenizer: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tokenizer, bare)
    written = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps(written | {"post_processor": None}))
    run(promoted, bare, tmp_path / "output")
    ids = AutoTokenizer.from_pretrained(tmp_path / "output")("Le patient")["input_ids"]
    assert (ids[0], ids[-1]) == (1, 2)


def test_a_folder_from_which_another_tokenizer_is_loaded_is_refused(
    promoted: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(folder: Path) -> Any:
        loaded = FastTokenizer.from_pretrained(folder)
        loaded.add_tokens("douleur")
        return loaded

    rows = documents(tokenizer)
    monkeypatch.setattr("detour.checkpoints.export.AutoTokenizer.from_pretrained", other)
    with pytest.raises(PermanentFailure, match="AutoTokenizer does not load the corpus's tokenizer"):
        export(promoted, load_tokenizer(str(tokenizer)), tmp_path / "output", "bfloat16", rows, trained_logits)


PHASES: list[dict[str, Any]] = [
    {
        "objective": "causal",
        "masking_rate": None,
        "tokens": 10_000_269_312,
        "steps": 3179,
        "parent_validation_loss": 3.25,
        "validation_loss": 2.125,
    },
    {
        "objective": "masked",
        "masking_rate": 0.15,
        "tokens": 1_000_341_504,
        "steps": 318,
        "parent_validation_loss": 6.5,
        "validation_loss": 1.5,
    },
]


def test_the_card_states_the_facts_and_its_example_runs(
    promoted: Path,
    tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "output"
    run(promoted, tokenizer, output)
    config = json.loads((output / "config.json").read_text())
    card = model_card("export-0123", "bfloat16", 12345, config, {"pretrained": "someone/base"}, PHASES)
    assert "base_model: someone/base" in card
    assert "| 1 | next token, causal attention | 10,000,269,312 | 3,179 | 3.2500 | 2.1250 |" in card
    assert "| 2 | masked tokens (15%), bidirectional attention | 1,000,341,504 | 318 | 6.5000 | 1.5000 |" in card
    monkeypatch.chdir(output)
    exec(card.partition("```python\n")[2].partition("```")[0], {})
    assert capsys.readouterr().out


def test_the_card_names_what_was_frozen() -> None:
    config = tiny_model().config.to_dict() | {"architectures": ["ModernBertForMaskedLM"]}
    held = [{"first": 0, "last": 7, "embeddings": True}, {"first": 9, "last": 9, "embeddings": False}]
    card = model_card("tiny", "float32", 1, config, {}, [PHASES[0] | {"freeze": held}])
    assert "| 1 | next token, causal attention, layers 0-7, 9 and embeddings frozen | 10,000,269,312 |" in card


def test_a_model_from_random_weights_names_no_base() -> None:
    config = tiny_model().config.to_dict() | {"architectures": ["ModernBertForMaskedLM"]}
    card = model_card("tiny", "float32", 1, config, {"config": {"hidden_size": 32}}, PHASES)
    assert "base_model" not in card
    assert "random weights, then 2 phases" in card
