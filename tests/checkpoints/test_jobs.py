"""The promote and export jobs on a corpus of real labels and a model of a few thousand weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

from detour.checkpoints.promoted import write_promoted
from detour.ledger.attempt import Attempt
from detour.plan.stage import Stage
from jobs.context import StageContext
from jobs.export import longest_documents
from jobs.export import run as run_export
from tests.checkpoints.tiny import tiny_model
from tests.support.corpora import make_corpus

VOCABULARY = 1024


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), vocabulary=VOCABULARY)


def context(stage: Stage, inputs: dict[str, Path], tmp_path: Path) -> StageContext:
    for name in ("work", "output"):
        (tmp_path / name).mkdir(parents=True)
    return StageContext(stage, inputs, tmp_path / "work", tmp_path / "output", Attempt(stage=stage.id))


def test_real_documents_are_compared(corpus: Path) -> None:
    documents = longest_documents(corpus)
    assert len(documents) == 4
    lengths = [len(document) for document in documents]
    assert lengths == sorted(lengths, reverse=True)
    tokenizer = AutoTokenizer.from_pretrained(corpus / "tokenizer")
    assert all(tokenizer.decode(document, skip_special_tokens=True).strip() for document in documents)


def test_export_leaves_a_proven_model_and_its_card(corpus: Path, tmp_path: Path) -> None:
    promotion = tmp_path / "promotion"
    promotion.mkdir()
    write_promoted(promotion, tiny_model(vocabulary=VOCABULARY), None)
    phase = {
        "objective": "masked",
        "masking_rate": 0.3,
        "tokens": 512,
        "steps": 4,
        "parent_validation_loss": 7.0,
        "validation_loss": 6.5,
    }
    (promotion / "promotion.json").write_text(json.dumps({"start": {"config": {}}, "phases": [phase]}))
    stage = Stage("export", "export", {"dtype": "bfloat16"}, {"checkpoint": "promote-1", "corpus": "prepare-1"})
    prepared = context(stage, {"checkpoint": promotion, "corpus": corpus}, tmp_path / "stage")

    result = run_export(prepared)

    assert result["dtype"] == "bfloat16"
    assert result["conversion"] <= 1e-4
    assert "masked tokens (30%)" in (prepared.output_dir / "README.md").read_text()
    tokenizer = AutoTokenizer.from_pretrained(prepared.output_dir)
    inputs = tokenizer("Tumeur maligne du <mask>", return_tensors="pt")
    assert tokenizer.mask_token_id in inputs["input_ids"]
    logits = AutoModelForMaskedLM.from_pretrained(prepared.output_dir)(**inputs).logits
    assert logits.shape == (*inputs["input_ids"].shape, VOCABULARY)
