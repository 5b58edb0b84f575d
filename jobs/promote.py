"""Judge a phase's result and, if it is fit to build on, promote it: weights, optimizer, figures, provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import ModernBertForMaskedLM

from detour.checkpoints.acceptance import accepted_gates
from detour.checkpoints.gates import Expected, Gatekeeper, Verdict
from detour.checkpoints.manifest import read_manifest
from detour.checkpoints.promoted import read_promotion, write_promotion
from detour.checkpoints.promotion import checkpoint_file, promote
from detour.checkpoints.provenance import provenance, uncommitted_changes
from detour.checkpoints.soundness import CONFIG
from detour.corpus.layout import TOKENIZER, read_index
from detour.corpus.tokenizer import load_tokenizer
from detour.errors import PermanentFailure
from detour.files import write_atomic
from detour.jobs.context import StageContext
from detour.jobs.evaluate import fine_tuned
from detour.jobs.gates import gate_judged
from detour.jobs.origins import require_unchanged
from detour.planning.origins import origin_of
from detour.planning.settings import phase_json
from detour.planning.stage import PromoteStage
from detour.pretraining.device import has_bf16
from detour.pretraining.objectives import Objective
from detour.pretraining.optimizer import freeze
from detour.pretraining.start import Start, load_model
from detour.pretraining.validation import corpus_validation_loss

DIFF = "code.diff"
"""The uncommitted changes of the code that ran; absent if there were none."""


def run(context: StageContext[PromoteStage]) -> dict[str, Any]:
    settings = context.stage.settings
    accepted = accepted_gates(context.work_dir.parent)
    gatekeeper = Gatekeeper("not promoted", accepted, lambda verdict: context.attempt.event(gate_judged(verdict)))
    _require_vouched(context.inputs["checkpoint"], gatekeeper)
    objective = Objective.of(settings.phase)
    figures = promote(
        context.inputs["checkpoint"],
        context.output_dir,
        Expected(settings.steps, settings.tokens, settings.phase.gate),
        validation_loss=lambda model: _validation_loss(model, context, objective),
        parent=lambda: _beginning(context),
        probe=lambda model: _probe(model, context),
        gatekeeper=gatekeeper,
    )
    write_promotion(context.output_dir, _record(context, figures))
    if changes := uncommitted_changes():
        write_atomic(context.output_dir / DIFF, changes)
    kept = ("step", "tokens", "validation_loss", "parent_validation_loss", "probe", "parameters")
    return {key: figures[key] for key in kept if figures[key] is not None}


def _require_vouched(pretrained: Path, gatekeeper: Gatekeeper) -> None:
    """Raises PermanentFailure for a file that the manifest does not list, which may be from another source."""
    listed = read_manifest(pretrained)["files"]
    needed = (checkpoint_file(pretrained).name, CONFIG)
    if unlisted := [name for name in needed if name not in listed]:
        raise PermanentFailure(f"not promoted: the manifest of {pretrained} does not list {' and '.join(unlisted)}")
    size_bytes = sum(file["size_bytes"] for file in listed.values())
    sentence = f"{len(listed)} files of {size_bytes:,} bytes have the digests that their training recorded"
    gatekeeper.require([Verdict("digests", True, sentence)])


def _probe(model: ModernBertForMaskedLM, context: StageContext[PromoteStage]) -> float:
    """Validation score of the checkpoint, fine-tuned as the recipe's benchmark fine-tunes its export.

    Not the test score: the choice of a checkpoint must not depend on the test documents that are to judge it.
    """
    stage = context.stage
    settings, runtime, probe = stage.settings.probe, stage.runtime.probe, stage.settings.phase.gate.probe
    assert settings is not None
    assert runtime is not None
    assert probe is not None
    digest = read_manifest(context.inputs["checkpoint"])["sha256"]
    folder = context.work_dir / f"probe-{digest[:12]}"  # an interrupted probe of another training is not resumed
    kept, unfinished = folder / "model", folder / "model.unfinished"
    if not kept.is_dir():  # written again, it would look like progress
        model.save_pretrained(unfinished)
        load_tokenizer(str(context.inputs["corpus"] / TOKENIZER)).save_pretrained(unfinished)
        unfinished.replace(kept)
    result = fine_tuned(settings, runtime.paths, kept, folder, context.attempt).result
    scores, metric = result["validation"], probe.metric or result["primary_metric"]
    if metric not in scores:
        raise PermanentFailure(f"not promoted: {probe.task} has no metric {metric}; it has {', '.join(scores)}")
    return float(scores[metric])


def _beginning(context: StageContext[PromoteStage]) -> ModernBertForMaskedLM:
    """The weights that the phase started from; frozen ones require no gradient."""
    settings = context.stage.settings
    model = load_model(_start(context), read_index(context.inputs["corpus"]), settings.seeds.training)
    freeze(model, settings.phase.freeze)
    return model


def _start(context: StageContext[PromoteStage]) -> Start:
    """Where the phase began: from its parent's weights, or from the recipe's model."""
    if (parent := context.inputs.get("parent")) is not None:
        return Start(None, parent)
    model, trained = context.stage.runtime.model, _trained(context.inputs["checkpoint"])
    if trained is not None and trained["settings"]["model"] is not None:
        require_unchanged(model.pretrained, origin_of(trained["settings"]["model"]))
    return Start(model)


def _trained(pretrained: Path) -> dict[str, Any] | None:
    """The stage that made the checkpoint, as JSON; None if its manifest does not say."""
    stage: dict[str, Any] | None = read_manifest(pretrained)["provenance"].get("stage")
    return stage


def _validation_loss(model: ModernBertForMaskedLM, context: StageContext[PromoteStage], objective: Objective) -> float:
    """Computed on the GPU if there is one; moves the model back to the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    try:
        return corpus_validation_loss(
            model,
            context.inputs["corpus"],
            context.stage.settings.sequence_length,
            objective,
            autocast=torch.bfloat16 if validates_in_bf16(context.inputs["checkpoint"], device) else None,
        )
    finally:
        model.to("cpu")


def validates_in_bf16(pretrained: Path, device: torch.device) -> bool:
    """Whether to validate in bf16: if the training used half precision, and the device can."""
    stage = _trained(pretrained)
    return has_bf16(device) and (stage is None or stage["settings"]["precision"] != "fp32")


def _record(context: StageContext[PromoteStage], figures: dict[str, Any]) -> dict[str, Any]:
    """promotion.json: this phase's figures, all phases since the start, and the origin of everything."""
    stage = context.stage
    parent = context.inputs.get("parent")
    before = read_promotion(parent) if parent else {"start": stage.runtime.model.as_json, "phases": []}
    losses = {name: figures[name] for name in ("validation_loss", "parent_validation_loss")}
    phase = {**phase_json(stage.settings.phase), "tokens": figures["tokens"], "steps": figures["step"], **losses}
    return {
        **figures,
        "start": before["start"],
        "phases": [*before["phases"], phase],
        "stage": stage.to_json(),
        "inputs": {
            role: {"stage": stage.inputs[role], "sha256": read_manifest(folder)["sha256"]}
            for role, folder in context.inputs.items()
        },
        **provenance(),
    }
