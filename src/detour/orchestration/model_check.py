"""A local model against the recipe that trains it, by its config and file headers, before anything waits in a queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from detour.checkpoints.model_tensors import config_of, tensors_problem
from detour.checkpoints.weights import folder_problem
from detour.planning.origins import Folder
from detour.planning.stage import PrepareStage, PretrainStage, Stage


def model_problems(stage: PretrainStage, stages: Mapping[str, Stage], looked_at: set[tuple[str, ...]]) -> Iterator[str]:
    """Yield why a phase cannot train the local folder that its chain starts from.

    stages     the chain's stages, by id
    looked_at  what was checked before; each folder is read once for each corpus
    """
    first = _first_phase(stage, stages)
    folder = Path(str(first.runtime.model.pretrained))
    if not isinstance(first.settings.model, Folder) or not folder.is_dir():
        return
    if stage is first and (entry := (str(folder), first.settings.model.head, stage.inputs["corpus"])) not in looked_at:
        looked_at.add(entry)
        yield from _folder_problems(folder, first.settings.model, stages[stage.inputs["corpus"]])
    if stage.settings.phase.freeze and isinstance(layers := _config(folder).get("num_hidden_layers"), int):
        for held in stage.settings.phase.freeze:
            if held.last >= layers:
                yield f"model {folder}: has layers 0 to {layers - 1}; {stage.label} freezes up to layer {held.last}"


def _folder_problems(folder: Path, model: Folder, corpus: Stage) -> Iterator[str]:
    if problem := folder_problem(folder) or tensors_problem(folder, with_head=model.head == "pretrained"):
        yield f"model {problem}"
        return
    known, needed = _config(folder).get("vocab_size"), _vocabulary(corpus)
    if isinstance(known, int) and needed is not None and needed > known:
        yield (
            f"model {folder}: knows {known:,} tokens, the tokenizer has {needed:,}: "
            "leave out `tokenizer`, to use the model's own"
        )


def _config(folder: Path) -> dict[str, Any]:
    """Return the model's config; empty if it cannot be read, which is reported with its weights."""
    try:
        return config_of(folder)
    except (OSError, ValueError, TypeError):
        return {}


def _first_phase(stage: PretrainStage, stages: Mapping[str, Stage]) -> PretrainStage:
    while "parent" in stage.inputs:
        before = stages[stages[stage.inputs["parent"]].inputs["checkpoint"]]
        assert isinstance(before, PretrainStage)
        stage = before
    return stage


def _vocabulary(corpus: Stage) -> int | None:
    """Number of tokens of a corpus; None if only the job can tell."""
    if not isinstance(corpus, PrepareStage):
        return None
    if (training := corpus.settings.training) is not None:
        return training.vocabulary
    if not isinstance(corpus.settings.tokenizer, Folder):
        return None
    try:
        file = orjson.loads((Path(str(corpus.runtime.tokenizer)) / "tokenizer.json").read_bytes())
        vocabulary = file["model"]["vocab"]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        return 1 + int(max(*ids, *(token["id"] for token in file["added_tokens"])))
    except (OSError, ValueError, LookupError, TypeError):
        return None
