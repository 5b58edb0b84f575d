"""How a phase begins: with weights of the recipe, or from random ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detour.config.models import Model
from detour.corpus.layout import read_index
from detour.errors import PermanentFailure
from detour.pretraining.start import Start, load_model, set_attention_output_dropout
from tests.pretraining import jobs
from tests.pretraining.tiny import tiny_model

CONFIG = {**jobs.CONFIG, "max_position_embeddings": 16}
SEED = 17


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """Weights without a masked-LM head, with a shorter context than the rows of the corpus."""
    tiny_model(max_position_embeddings=16).model.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_an_encoder_without_a_head_is_refused_unless_a_new_head_is_requested(corpus: Path, encoder: Path) -> None:
    with pytest.raises(PermanentFailure, match=r"missing: decoder\.bias, head\.dense\.weight"):
        load_model(Start(Model(pretrained=str(encoder))), read_index(corpus), SEED)


def test_a_new_head_depends_on_the_training_seed(corpus: Path, encoder: Path) -> None:
    start = Start(Model(pretrained=str(encoder), head="new"))
    heads = [load_model(start, read_index(corpus), SEED).head.dense.weight for _ in range(2)]
    assert torch.equal(*heads)


@pytest.mark.parametrize("origin", ["pretrained", "config"])
def test_the_model_records_the_row_length_as_its_context(corpus: Path, encoder: Path, origin: str) -> None:
    made = {"pretrained": str(encoder), "head": "new"} if origin == "pretrained" else {"config": CONFIG}
    index = read_index(corpus)
    model = load_model(Start(Model.model_validate(made)), index, SEED)
    assert model.config.max_position_embeddings == index.sequence_length > 16


def test_a_published_model_with_a_smaller_vocabulary_is_not_asked_for_settings_of_random_weights(
    corpus: Path, tmp_path: Path
) -> None:
    tiny_model(vocab_size=10).save_pretrained(tmp_path / "small")
    with pytest.raises(PermanentFailure, match=r"knows 10 tokens, .*: leave out `tokenizer`, to use the model's own"):
        load_model(Start(Model(pretrained=str(tmp_path / "small"))), read_index(corpus), SEED)


def test_a_config_that_transformers_refuses_fails_for_good(corpus: Path) -> None:
    reason = "model.config: transformers makes no model of it .*Padding_idx must be within num_embeddings"
    with pytest.raises(PermanentFailure, match=reason):
        load_model(Start(Model(config=CONFIG | {"pad_token_id": 999})), read_index(corpus), SEED)


def test_attention_output_dropout_applies_only_in_training() -> None:
    plain, dropped = tiny_model(), tiny_model()
    set_attention_output_dropout(dropped, 0.5)
    ids = torch.arange(3, 35)[None]
    assert torch.equal(dropped(input_ids=ids).logits, plain(input_ids=ids).logits)
    dropped.train()
    assert not torch.equal(dropped(input_ids=ids).logits, plain(input_ids=ids).logits)
    assert dropped.state_dict().keys() == plain.state_dict().keys()


def test_without_the_option_the_model_keeps_its_own_dropout() -> None:
    model = tiny_model(attention_dropout=0.25)
    set_attention_output_dropout(model, 0.0)
    assert model.model.layers[0].attn.out_drop.p == 0.25
