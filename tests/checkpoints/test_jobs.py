"""The promote and export jobs on a corpus of real labels and a model of a few thousand weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from detour.checkpoints.manifest import write_manifest
from detour.checkpoints.promoted import read_moments, read_promotion, write_promoted
from detour.config.models import Gate, Model, Phase, Seeds, WarmupConstant
from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRows
from detour.errors import PermanentFailure
from detour.jobs.context import StageContext, StageOfKind
from detour.jobs.export import longest_documents
from detour.jobs.export import run as run_export
from detour.jobs.promote import run as run_promote
from detour.ledger.attempt import Attempt
from detour.planning.runtime import PromoteRuntime
from detour.planning.settings import PromoteSettings
from detour.planning.stage import PromoteStage
from detour.pretraining.batches import collate
from detour.pretraining.loss import language_model_loss
from detour.pretraining.objectives import Objective, Vocabulary, make_example
from detour.pretraining.start import Start, load_model
from tests.checkpoints.tiny import STEPS, TOKENS, pretrain_output, tiny_model, trainer_state
from tests.support.corpora import make_corpus
from tests.support.stages import export_stage

VOCABULARY = 1024


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_corpus(tmp_path_factory.mktemp("corpus"), vocabulary=VOCABULARY)
    write_manifest(folder, {})
    return folder


MODEL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "local_attention": 16,
}
OBJECTIVES = {"causal": Objective("causal"), "masked": Objective("masked", 0.3)}


def context(stage: StageOfKind, inputs: dict[str, Path], tmp_path: Path) -> StageContext[StageOfKind]:
    for name in ("work", "output"):
        (tmp_path / name).mkdir(parents=True)
    return StageContext(stage, inputs, tmp_path / "work", tmp_path / "output", Attempt(stage=stage.id))


def pretrained(folder: Path, corpus: Path, objective: Objective, start: Start) -> Path:
    """The output of a pretrain stage of 4 steps of 512 tokens, with a rate high enough to learn something."""
    index = read_index(corpus)
    rows, vocabulary = PackedRows(corpus, "train", 128, 42), Vocabulary.of(index)
    model = load_model(start, index, seed=17)
    model.set_attn_implementation("sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(STEPS):
        examples = [make_example(rows.row(i), objective, vocabulary, (17, i)) for i in range(4 * step, 4 * step + 4)]
        loss = language_model_loss(model, collate(examples), causal=objective.causal)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    pretrain_output(folder, model, trainer_state(model, optimizer))
    write_manifest(folder, {})
    return folder


def promotion_stage(objective: Objective, parent: bool, drop: float = 0.0) -> PromoteStage:
    phase = Phase(
        name=objective.kind,
        objective=objective.kind,
        masking_rate=objective.masking_rate,
        tokens=500,
        schedule=WarmupConstant(kind="warmup_constant"),
        gate=Gate(validation_loss_drop=drop),
    )
    settings = PromoteSettings(phase, TOKENS, STEPS, sequence_length=128, seeds=Seeds(training=17, shuffle=42))
    runtime = PromoteRuntime(Model(config=MODEL), VOCABULARY, validation_tokens=1000)
    inputs = {"checkpoint": "pretrain-1", "corpus": "prepare-1"} | ({"parent": "promote-1"} if parent else {})
    return PromoteStage(settings, inputs, runtime)


def promoted(
    corpus: Path, folder: Path, objective: Objective, parent: Path | None = None, drop: float = 0.0
) -> StageContext[PromoteStage]:
    start = Start(None if parent else Model(config=MODEL), parent)
    inputs = {"checkpoint": pretrained(folder / "pretrain", corpus, objective, start), "corpus": corpus}
    stage = promotion_stage(objective, parent is not None, drop)
    prepared = context(stage, inputs | ({"parent": parent} if parent else {}), folder)
    run_promote(prepared)
    write_manifest(prepared.output_dir, {})
    return prepared


def test_two_phases_are_promoted_in_turn(corpus: Path, tmp_path: Path) -> None:
    first = promoted(corpus, tmp_path / "clm", OBJECTIVES["causal"])
    second = promoted(corpus, tmp_path / "mlm", OBJECTIVES["masked"], parent=first.output_dir)

    promotion = read_promotion(second.output_dir)
    assert [phase["objective"] for phase in promotion["phases"]] == ["causal", "masked"]
    assert all(phase["validation_loss"] < phase["parent_validation_loss"] for phase in promotion["phases"])
    assert promotion["start"] == {"pretrained": None, "revision": None, "config": MODEL}
    assert promotion["inputs"]["parent"] == {
        "stage": "promote-1",
        "sha256": json.loads((first.output_dir / "manifest.json").read_text())["sha256"],
    }
    assert promotion["stage"]["key"] == second.stage.key
    assert {"code", "packages", "machine", "python"} <= set(promotion)
    assert read_moments(second.output_dir) is not None


def test_a_missed_gate_says_by_how_much(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentFailure, match=r"not promoted: validation loss .* not above the gate's minimum of 5"):
        promoted(corpus, tmp_path, OBJECTIVES["causal"], drop=5.0)


def test_real_documents_are_compared(corpus: Path) -> None:
    documents = longest_documents(corpus)
    assert len(documents) == 4
    lengths = [len(document) for document in documents]
    assert lengths == sorted(lengths, reverse=True)
    tokenizer = AutoTokenizer.from_pretrained(corpus / "tokenizer")
    assert all(tokenizer.decode(document, skip_special_tokens=True).strip() for document in documents)


def test_an_export_writes_a_verified_model_and_its_card(corpus: Path, tmp_path: Path) -> None:
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
    stage = export_stage({"checkpoint": "promote-1", "corpus": "prepare-1"})
    prepared = context(stage, {"checkpoint": promotion, "corpus": corpus}, tmp_path / "stage")

    result = run_export(prepared)

    assert result["dtype"] == "bfloat16"
    assert result["conversion"] <= 1e-4
    assert "attn_implementation" not in (prepared.output_dir / "config.json").read_text()
    assert "masked tokens (30%)" in (prepared.output_dir / "README.md").read_text()
    tokenizer = AutoTokenizer.from_pretrained(prepared.output_dir)
    inputs = tokenizer("Tumeur maligne du <mask>", return_tensors="pt")
    assert tokenizer.mask_token_id in inputs["input_ids"]
    logits = AutoModelForMaskedLM.from_pretrained(prepared.output_dir)(**inputs).logits
    assert logits.shape == (*inputs["input_ids"].shape, VOCABULARY)
