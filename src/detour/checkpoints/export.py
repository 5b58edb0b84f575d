"""Export a model as a folder for AutoModelForMaskedLM, AutoModel and AutoTokenizer, and verify it.

Conversions to the hub's format have lost weights and produced NaN logits before. So the folder is loaded back as any
user would, and compared on real rows with the promoted fp32 weights under the trainer's own bidirectional forward pass:

stored      every tensor equals the trained one cast to the export's dtype, bit for bit
conversion  logits of the exported model against the trainer's forward pass, on the same rounded weights
rounding    the same against the trainer's fp32 weights: the effect of the dtype

Differences are relative, |a - b| / |b| in the Euclidean norm over all logits of all rows, computed in fp32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, ModernBertForMaskedLM, PreTrainedTokenizerBase

from detour.checkpoints.gates import Gatekeeper, Verdict
from detour.checkpoints.loading import load_masked_lm
from detour.config.training import Equivalence
from detour.errors import PermanentFailure
from detour.files import write_atomic

WEIGHTS = "model.safetensors"
EXPORT = "export.json"
INPUTS = ["input_ids", "attention_mask"]
"""Inputs of ModernBERT from a tokenizer; it has no token types."""
ROUNDING_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Default tolerances. bf16 keeps 8 bits of each weight: 0.4 % was observed over 22 layers of hidden size 768."""

TrainedLogits = Callable[[ModernBertForMaskedLM, Tensor], Tensor]
"""The trainer's bidirectional forward pass on one document: (T,) token ids -> (T, vocabulary) logits."""


@dataclass(frozen=True, slots=True)
class Equality:
    """Results of the comparison, which export.json holds along with their tolerances."""

    tensors: int
    unequal_tensors: tuple[str, ...]
    rows: int
    tokens: int
    conversion: float
    rounding: float
    rounding_in_dtype: float
    """Like `rounding`, with activations in the export's dtype too, as users run it; reported, not checked."""


def export(
    model: Path,
    tokenizer: PreTrainedTokenizerBase,
    output: Path,
    dtype: str,
    rows: Sequence[Tensor],
    trained_logits: TrainedLogits,
    classifier_pooling: str | None = None,
    equivalence: Equivalence | None = None,
    gatekeeper: Gatekeeper | None = None,
) -> dict[str, Any]:
    """Write the folder and return the content of export.json.

    `model` is the promoted fp32 model, `tokenizer` the corpus's, `rows` real documents, each (T,) int64. Raises
    PermanentFailure if the tokenizer does not fit the model, any logit is not finite, or the folder differs from the
    trained model.
    """
    trained = load_masked_lm(model).eval()
    _fit(trained, tokenizer)
    if classifier_pooling is not None:
        trained.config.classifier_pooling = classifier_pooling
    reference = [_finite(_logits(trained_logits, trained, row), "trained") for row in rows]
    kept: torch.dtype = getattr(torch, dtype)
    _round(trained, kept)
    rounded = [_logits(trained_logits, trained, row) for row in rows]
    trained.to(kept).save_pretrained(output)
    tokenizer.save_pretrained(output)
    _add_older_names(output)
    equality = _compare(model, output, kept, rows, reference, rounded)
    AutoModel.from_pretrained(output)
    _require_tokenizer(output, tokenizer)
    tolerances = _tolerances(equivalence or Equivalence(), dtype)
    (gatekeeper or Gatekeeper("not exported")).require(_verdicts(equality, tolerances))
    record = {
        "dtype": dtype,
        "parameters": trained.num_parameters(),
        "tolerances": tolerances,
        **asdict(equality),
    }
    write_atomic(output / EXPORT, json.dumps(record, indent=1))
    return record


def _fit(model: ModernBertForMaskedLM, tokenizer: PreTrainedTokenizerBase) -> None:
    """Align model and tokenizer: special ids in the config, the model's context and inputs in the tokenizer.

    Raises PermanentFailure if they do not fit.
    """
    if tokenizer.mask_token_id is None:
        raise PermanentFailure("not exported: the tokenizer has no mask token, so the model could not fill masks")
    vocabulary = max(tokenizer.get_vocab().values()) + 1
    if vocabulary > model.config.vocab_size:
        raise PermanentFailure(
            f"not exported: the tokenizer has ids up to {vocabulary - 1:,}, "
            f"the model knows {model.config.vocab_size:,} tokens"
        )
    for name in ("pad", "cls", "sep", "bos", "eos"):
        if (token_id := getattr(tokenizer, f"{name}_token_id")) is not None:
            setattr(model.config, f"{name}_token_id", token_id)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.model_input_names = INPUTS


def _round(model: ModernBertForMaskedLM, dtype: torch.dtype) -> None:
    """Round only the weights: `model.to(dtype)` would round the rotary frequencies too."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).to(parameter.dtype)


def _add_older_names(output: Path) -> None:
    """Add the config keys of transformers 4.48, the first release with ModernBERT, to those of the current one.

    A 4.x release does not know the tokenizer class that 5.x writes. It reads rotary frequencies and the positions of
    global layers under other names, and would use its defaults.
    """
    path = output / "config.json"
    config = json.loads(path.read_bytes())
    kinds, rope = config["layer_types"], config["rope_parameters"]
    every = next((i for i, kind in enumerate(kinds) if i and kind == "full_attention"), len(kinds))
    if kinds == ["sliding_attention" if i % every else "full_attention" for i in range(len(kinds))]:
        config["global_attn_every_n_layers"] = every
    config["global_rope_theta"] = rope["full_attention"]["rope_theta"]
    config["local_rope_theta"] = rope["sliding_attention"]["rope_theta"]
    write_atomic(path, json.dumps(config, indent=2, sort_keys=True))
    path = output / "tokenizer_config.json"
    tokenizer = json.loads(path.read_bytes())
    if tokenizer["tokenizer_class"] == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    tokenizer["model_input_names"] = INPUTS
    write_atomic(path, json.dumps(tokenizer, indent=2, ensure_ascii=False))


def _compare(
    model: Path,
    output: Path,
    dtype: torch.dtype,
    rows: Sequence[Tensor],
    reference: Sequence[Tensor],
    rounded: Sequence[Tensor],
) -> Equality:
    stored, promoted = load_file(output / WEIGHTS), load_file(model / WEIGHTS)
    expected = {name: tensor.to(dtype) for name, tensor in promoted.items()}
    unequal = {name for name in stored.keys() | expected.keys() if not _equal(stored.get(name), expected.get(name))}
    logits = _plain_logits(output, torch.float32, rows)
    return Equality(
        tensors=len(promoted),
        unequal_tensors=tuple(sorted(unequal)),
        rows=len(rows),
        tokens=sum(len(row) for row in rows),
        conversion=_difference(logits, rounded),
        rounding=_difference(logits, reference),
        rounding_in_dtype=_difference(_plain_logits(output, dtype, rows), reference),
    )


def _tolerances(asked: Equivalence, dtype: str) -> dict[str, float]:
    """Return the tolerances. Conversion only reorders fp32 sums; a lost weight differs by orders of magnitude more."""
    rounding = ROUNDING_TOLERANCE[dtype] if asked.rounding is None else asked.rounding
    return {"conversion": asked.conversion, "rounding": rounding}


def _verdicts(equality: Equality, tolerances: Mapping[str, float]) -> Iterator[Verdict]:
    unequal = equality.unequal_tensors
    yield Verdict(
        "stored",
        not unequal,
        f"{len(unequal)} of {equality.tensors} stored tensors are not the trained ones, the first is {unequal[0]}"
        if unequal
        else f"all {equality.tensors} stored tensors are the trained ones",
        len(unequal) or None,
    )
    for name, found in (("conversion", equality.conversion), ("rounding", equality.rounding)):
        limit = tolerances[name]
        yield Verdict(
            name,
            found <= limit,
            f"{name} changes the logits by {found:.2g} of their norm on {equality.rows} rows, "
            f"{'within' if found <= limit else 'above'} the gate's limit of {limit:g}",
            found - limit if found > limit else None,
        )


def _require_tokenizer(output: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise PermanentFailure unless AutoTokenizer loads the corpus's tokenizer from the folder."""
    loaded = AutoTokenizer.from_pretrained(output)
    if loaded.backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str():
        raise PermanentFailure(f"not exported: AutoTokenizer does not load the corpus's tokenizer from {output}")


def _plain_logits(folder: Path, dtype: torch.dtype, rows: Sequence[Tensor]) -> list[Tensor]:
    """Return the logits that users get: without packing and our own masks."""
    loaded = AutoModelForMaskedLM.from_pretrained(folder, dtype=dtype).eval()
    with torch.inference_mode():
        return [_finite(loaded(input_ids=row[None]).logits[0].float(), "exported") for row in rows]


def _logits(trained_logits: TrainedLogits, model: ModernBertForMaskedLM, row: Tensor) -> Tensor:
    with torch.inference_mode():
        return trained_logits(model, row).float()


def _finite(logits: Tensor, whose: str) -> Tensor:
    if not torch.isfinite(logits).all():
        raise PermanentFailure(f"not exported: the {whose} model's logits hold NaN or infinity on real text")
    return logits


def _difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    whole = torch.cat(list(expected))
    return float((torch.cat(list(found)) - whole).norm() / whole.norm())


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and torch.equal(a, b)
