"""Files that each kind of stage writes to its output folder, for users and later stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from detour.ledger.workspace import MANIFEST
from detour.planning.settings import PrepareSettings
from detour.planning.stage import PrepareStage, Stage, StageKind

_FIXED: Mapping[StageKind, tuple[str, ...]] = {
    "pretrain": ("checkpoint.safetensors", "config.json", "history.json"),
    "promote": ("model/config.json", "model/model.safetensors", "optimizer.safetensors", "promotion.json"),
    "export": (
        "README.md",
        "config.json",
        "export.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ),
    "evaluate": ("predictions.jsonl", "result.json"),
    "summarize": ("summary.json", "summary.txt"),
}


def planned_files(stage: Stage) -> list[str]:
    """Return paths relative to the output folder. A stage may write more, such as a patch of uncommitted code."""
    named = _corpus_files(stage.settings) if isinstance(stage, PrepareStage) else _FIXED[stage.kind]
    return [*named, MANIFEST]


def planned_outputs(stage: Stage, output_of: Callable[[str], object]) -> dict[str, Any]:
    """Return the stage's output folder, which `output_of` gives for a stage id, and its files."""
    return {"folder": str(output_of(stage.id)), "files": planned_files(stage)}


def _corpus_files(settings: PrepareSettings) -> list[str]:
    used = [source.name for source, _ in settings.used]
    shards = [
        f"{split}/{name}/{file}"
        for split in ("train", "validation")
        for name in used
        for file in ("tokens.bin", "documents.npy")
    ]
    return ["index.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", *shards]
