"""Turn the promoted weights into a folder that `transformers` can load, verified to be the same model."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ModernBertForMaskedLM

from detour.cards.exported import write_card
from detour.checkpoints.export import export
from detour.checkpoints.gates import Gatekeeper
from detour.checkpoints.promoted import MODEL, read_promotion
from detour.corpus.layout import TOKENIZER, read_index
from detour.corpus.packing import PackedRows
from detour.corpus.tokenizer import load_tokenizer
from detour.jobs.context import StageContext
from detour.jobs.gates import gate_judged
from detour.planning.stage import ExportStage
from detour.pretraining.attention import PackedTokens, predict, set_backend
from detour.pretraining.kernel_choice import ready_backend
from detour.pretraining.kernels import HALF

ROWS, DOCUMENTS, TOKENS = 16, 4, 512
"""The comparison uses the longest documents of the first rows set aside for validation, cut to this many tokens."""


def run(context: StageContext[ExportStage]) -> dict[str, Any]:
    promotion, corpus = context.inputs["checkpoint"], context.inputs["corpus"]
    settings = context.stage.settings
    record = export(
        promotion / MODEL,
        load_tokenizer(str(corpus / TOKENIZER)),
        context.output_dir,
        settings.dtype,
        rows=longest_documents(corpus),
        trained_logits=trained_logits,
        classifier_pooling=settings.classifier_pooling,
        equivalence=settings.equivalence,
        gatekeeper=Gatekeeper("not exported", record=lambda verdict: context.attempt.event(gate_judged(verdict))),
    )
    write_card(context.output_dir, context.stage.id, record, read_promotion(promotion))
    return {
        key: record[key] for key in ("dtype", "parameters", "tolerances", "conversion", "rounding", "rows", "tokens")
    }


def longest_documents(corpus: Path) -> list[Tensor]:
    """Real text that the model was not trained on; each (T,) token ids."""
    index = read_index(corpus)
    rows = PackedRows(corpus, "validation", index.sequence_length, index.shuffle_seed)
    first = (rows.row(i) for i in range(min(ROWS, len(rows))))
    documents = chain.from_iterable(
        torch.from_numpy(row.input_ids).tensor_split(torch.from_numpy(row.cu_seqlens[1:-1]).long()) for row in first
    )
    return [document[:TOKENS] for document in sorted(documents, key=len, reverse=True)[:DOCUMENTS]]


def trained_logits(model: ModernBertForMaskedLM, ids: Tensor) -> Tensor:
    """Logits of one document from the forward pass that the masked phase trains with."""
    set_backend(model, ready_backend(model.device, half=model.dtype in HALF))
    boundaries = torch.tensor([0, len(ids)], dtype=torch.int32)
    positions = torch.arange(len(ids))[None]
    tokens: PackedTokens = {"input_ids": ids[None], "position_ids": positions, "cu_seqlens": boundaries}
    return predict(model, tokens, causal=False)
