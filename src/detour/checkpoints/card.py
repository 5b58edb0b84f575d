"""The exported folder's README: what is known to be true of the model, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from detour.files import write_atomic

CARD = """\
---
{front_matter}
---

# {name}

An encoder made by `detour`: {start}, then {phases} of pretraining.

| | |
|---|---|
| Architecture | {architecture} |
| Parameters | {parameters:,} |
| Layers, hidden size, heads | {layers}, {hidden}, {heads} |
| Context | {context:,} tokens |
| Vocabulary | {vocabulary:,} |
| Weights | safetensors, {dtype} |

## Usage

With transformers 4.48 or later:

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

model_id = "."  # this folder, or where you have put it
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForMaskedLM.from_pretrained(model_id)

text = f"One word of this sentence is {{tokenizer.mask_token}}."
inputs = tokenizer(text, return_tensors="pt")
outputs = model(**inputs)

masked_index = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
print(tokenizer.decode(outputs.logits[0, masked_index].argmax(axis=-1)))
```

For fine-tuning, `AutoModel.from_pretrained(model_id)` gives the encoder without its head.

## Training

| phase | objective | tokens | steps | validation loss before | after |
|---|---|---|---|---|---|
{rows}

Losses are in nats a predicted token, each under its own phase's objective.
Exact settings, code version and digests are in the manifests of the run. Energy and CO2 belong to the run and not to
this folder: its report gives them, each figure with its method.
"""


def write_card(folder: Path, name: str, record: Mapping[str, Any], promotion: Mapping[str, Any]) -> None:
    """`record` is what export.json holds, `promotion` what promotion.json held."""
    config = json.loads((folder / "config.json").read_bytes())
    card = model_card(name, record["dtype"], record["parameters"], config, promotion["start"], promotion["phases"])
    write_atomic(folder / "README.md", card)


def model_card(
    name: str,
    dtype: str,
    parameters: int,
    config: Mapping[str, Any],
    start: Mapping[str, Any],
    phases: Sequence[Mapping[str, Any]],
) -> str:
    """`config` is the exported config.json; `start` and `phases` are those of promotion.json."""
    hub_id = start.get("pretrained")
    front_matter = ModelCardData(
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=["modernbert", "fill-mask"],
        base_model=hub_id if hub_id and not hub_id.startswith(("/", ".")) else None,
    )
    return CARD.format(
        front_matter=front_matter.to_yaml(),
        name=name,
        start=f"the weights of {hub_id}" if hub_id else "random weights",
        phases="one phase" if len(phases) == 1 else f"{len(phases)} phases",
        architecture=", ".join(config["architectures"]),
        parameters=parameters,
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        dtype=dtype,
        rows="\n".join(_row(number, phase) for number, phase in enumerate(phases, 1)),
    )


def _row(number: int, phase: Mapping[str, Any]) -> str:
    objective = {
        "causal": "next token, causal attention",
        "masked": f"masked tokens ({phase['masking_rate'] or 0:.0%}), bidirectional attention",
    }[phase["objective"]]
    return (
        f"| {number} | {objective} | {phase['tokens']:,} | {phase['steps']:,} "
        f"| {phase['parent_validation_loss']:.4f} | {phase['validation_loss']:.4f} |"
    )
