"""The validation loss, shared by training and promotion: a deterministic function of weights and objective.

Masks depend only on the row, never on the recipe's seeds, so losses of different runs on one corpus are comparable.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ModernBertForMaskedLM

from detour.corpus.packing import PackedRows
from detour.pretraining.attention import backend_of, set_backend
from detour.pretraining.batches import Rows, collate, to_device
from detour.pretraining.kernel_choice import ready_backend
from detour.pretraining.loss import language_model_loss
from detour.pretraining.objectives import Objective, Vocabulary, make_example

MASKING_SEED = 20_000
"""Separates the masks of validation rows from those of training rows with the same index."""


def validation_sums(
    model: ModernBertForMaskedLM,
    rows: Rows,
    objective: Objective,
    vocabulary: Vocabulary,
    chosen: range,
    *,
    autocast: torch.dtype | None = None,
) -> tuple[float, int]:
    """(sum of the losses, labelled tokens) over the rows `chosen`, one rank's share."""
    total, tokens = 0.0, 0
    was_training, device = model.training, model.device
    model.eval()
    torch.compiler.set_stance("force_eager")  # shapes differ from training's, which would be recompiled for both
    try:
        for i in chosen:
            batch = collate([make_example(rows.row(i), objective, vocabulary, (MASKING_SEED, i))])
            count = len(batch["labels"])
            with torch.no_grad(), torch.autocast(device.type, autocast, enabled=autocast is not None):
                loss = language_model_loss(model, to_device(batch, device), causal=objective.causal)
            total, tokens = total + float(loss) * count, tokens + count
    finally:
        torch.compiler.set_stance("default")
        model.train(was_training)
    return total, tokens


def corpus_validation_loss(
    model: ModernBertForMaskedLM,
    corpus: Path,
    sequence_length: int,
    objective: Objective,
    *,
    autocast: torch.dtype | None = None,
) -> float:
    """Mean loss in nats over all labelled tokens of a prepared corpus, on the model's device with a backend for it.

    NaN if the validation split has no such token.
    """
    rows = PackedRows(corpus, "validation", sequence_length, shuffle_seed=0)
    before = backend_of(model)
    set_backend(model, ready_backend(model.device, half=autocast is not None))
    try:
        total, tokens = validation_sums(
            model, rows, objective, Vocabulary.of(rows.index), range(len(rows)), autocast=autocast
        )
    finally:
        set_backend(model, before)
    return total / tokens if tokens else float("nan")
