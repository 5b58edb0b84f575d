"""The weights that a phase starts from: published, random, or promoted from the previous phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import ModernBertConfig, ModernBertForMaskedLM
from transformers.utils import logging as transformers_logging

from detour.checkpoints.loading import load_masked_lm
from detour.checkpoints.promoted import MODEL, read_moments
from detour.config.models import Model
from detour.corpus.layout import Index
from detour.errors import PermanentFailure


@dataclass(frozen=True, slots=True)
class Start:
    """Where a phase starts. `parent` is the output of a promotion and takes precedence over `model`."""

    model: Model | None
    parent: Path | None = None
    with_optimizer: bool = False

    def optimizer_state(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Moments by parameter name; empty if the phase starts with fresh ones.

        Raises PermanentFailure if the recipe carries the optimizer over and the parent has none.
        """
        if self.parent is None or not self.with_optimizer:
            return {}
        moments = read_moments(self.parent)
        if moments is None:
            raise PermanentFailure(
                f"{self.parent}: has no optimizer state; set `carry: weights`, or promote its parent phase again"
            )
        return moments


def load_model(start: Start, corpus: Index, seed: int) -> ModernBertForMaskedLM:
    """Load or initialize the model in fp32 on the CPU, without changing the global random state.

    Raises PermanentFailure if it cannot be loaded or does not fit the corpus.
    """
    transformers_logging.disable_progress_bar()
    if start.parent is not None:
        model = load_masked_lm(start.parent / MODEL)
    elif start.model is None:
        raise PermanentFailure("a phase without a parent needs a model to start from")
    elif start.model.config is not None:
        model = _random_model(start.model.config, corpus, seed)
    else:
        source = start.model
        new_head_seed = seed if source.head == "new" else None
        model = load_masked_lm(
            str(source.pretrained), source.revision, context=corpus.sequence_length, new_head_seed=new_head_seed
        )
    if model.config.vocab_size < corpus.vocabulary:
        is_random = start.parent is None and start.model is not None and start.model.config is not None
        remedy = "leave out `model.config.vocab_size`" if is_random else "leave out `tokenizer`, to use the model's own"
        raise PermanentFailure(
            f"the model knows {model.config.vocab_size:,} tokens, "
            f"the corpus was made with {corpus.vocabulary:,}: {remedy}"
        )
    return model


def _random_model(settings: Mapping[str, Any], corpus: Index, seed: int) -> ModernBertForMaskedLM:
    """A new model; vocabulary and special tokens come from the corpus unless the recipe sets them."""
    special = corpus.special_tokens
    derived = {
        "vocab_size": corpus.vocabulary,
        "max_position_embeddings": corpus.sequence_length,
        "pad_token_id": special.pad,
        "cls_token_id": special.cls,
        "bos_token_id": special.cls,
        "sep_token_id": special.sep,
        "eos_token_id": special.sep,
    }
    try:
        config = ModernBertConfig(**(derived | dict(settings)))
        config.max_position_embeddings = max(config.max_position_embeddings, corpus.sequence_length)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return ModernBertForMaskedLM._from_config(config, dtype=torch.float32)
    except (StrictDataclassError, ValueError, TypeError, KeyError, AssertionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PermanentFailure(f"model.config: transformers makes no model of it ({reason})") from error


def set_attention_output_dropout(model: ModernBertForMaskedLM, probability: float) -> None:
    """Apply dropout to the output projections of attention while training; 0 leaves the model as it is.

    The config's `attention_dropout` would also drop attention weights, which no packed kernel supports.
    """
    if probability > 0:
        for layer in model.model.layers:
            layer.attn.out_drop = nn.Dropout(probability).train(model.training)
