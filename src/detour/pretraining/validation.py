"""The validation loss, shared by training and promotion: a deterministic function of weights and objective.

Masks depend only on the row, never on the recipe's seeds, so losses of different runs on one corpus are comparable.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ModernBertForMaskedLM

from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRows
from detour.pretraining.attention import backend_of, set_backend
from detour.pretraining.batches import FiniteRows, collate, to_device
from detour.pretraining.kernel_choice import ready_backend
from detour.pretraining.loss import language_model_loss
from detour.pretraining.objectives import Objective, Vocabulary, make_example

MASKING_SEED = 20_000
"""Separates the masks of validation rows from those of training rows with the same index."""


def validation_loss(
    model: ModernBertForMaskedLM,
    rows: FiniteRows,
    objective: Objective,
    vocabulary: Vocabulary,
    *,
    rows_at_once: int = 1,
    autocast: torch.dtype | None = None,
) -> float:
    """Mean loss in nats over all labelled tokens of `rows`; NaN if there are none."""
    total, tokens = validation_sums(
        model, rows, objective, vocabulary, range(len(rows)), rows_at_once=rows_at_once, autocast=autocast
    )
    return total / tokens if tokens else float("nan")


def validation_sums(
    model: ModernBertForMaskedLM,
    rows: FiniteRows,
    objective: Objective,
    vocabulary: Vocabulary,
    chosen: range,
    *,
    rows_at_once: int = 1,
    autocast: torch.dtype | None = None,
) -> tuple[float, int]:
    """(sum of the losses, labelled tokens) over the rows `chosen`, one rank's share."""
    total, tokens = 0.0, 0
    was_training, device = model.training, model.device
    model.eval()
    torch.compiler.set_stance(
        "force_eager"
    )  # its shapes differ from training's, which would then be recompiled for both
    try:
        for start in range(0, len(chosen), rows_at_once):
            numbers = chosen[start : start + rows_at_once]
            examples = [make_example(rows.row(i), objective, vocabulary, (MASKING_SEED, i)) for i in numbers]
            batch = collate(examples)
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
    """Validation loss on a prepared corpus, on the model's device, with a backend that suits the device."""
    rows = PackedRows(corpus, "validation", sequence_length, shuffle_seed=0)
    before = backend_of(model)
    set_backend(model, ready_backend(model.device, half=autocast is not None))
    try:
        return validation_loss(model, rows, objective, Vocabulary.of(read_index(corpus)), autocast=autocast)
    finally:
        set_backend(model, before)
