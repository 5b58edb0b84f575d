"""The card of an export on its own, before scores and compute are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detour.cards.content import Architecture, Content, Phase
from detour.cards.rendering import render
from detour.config.models import Freeze, frozen_in_words
from detour.files import write_atomic

CARD = "README.md"


def write_card(folder: Path, name: str, record: Mapping[str, Any], promotion: Mapping[str, Any]) -> None:
    """Write the card; `record` is the content of export.json, `promotion` that of promotion.json."""
    config = json.loads((folder / "config.json").read_bytes())
    card = export_card(name, record["dtype"], record["parameters"], config, promotion["start"], promotion["phases"])
    write_atomic(folder / CARD, card)


def export_card(
    name: str,
    dtype: str,
    parameters: int,
    config: Mapping[str, Any],
    start: Mapping[str, Any],
    phases: Sequence[Mapping[str, Any]],
) -> str:
    """Return the card; `config` is the exported config.json, `start` and `phases` come from promotion.json."""
    facts = [
        Phase(
            number,
            phase["objective"],
            phase["masking_rate"],
            phase["tokens"],
            phase["steps"],
            phase["parent_validation_loss"],
            phase["validation_loss"],
            frozen_in_words([Freeze.model_validate(held) for held in phase.get("freeze", ())]),
        )
        for number, phase in enumerate(phases, 1)
    ]
    return render(Content(name, hub_id(start), architecture(config, dtype, parameters), tuple(facts)))


def hub_id(start: Mapping[str, Any]) -> str | None:
    """Return the hub id of the initial weights; None for random ones and those of a local folder."""
    found = start.get("pretrained")
    return None if not found or str(found).startswith(("/", ".", "~")) else str(found)


def architecture(config: Mapping[str, Any], dtype: str, parameters: int) -> Architecture:
    return Architecture(
        classes=tuple(config["architectures"]),
        parameters=parameters,
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        dtype=dtype,
    )
