"""The output of a promotion, on which a later phase, an export or anyone else may build. It contains no pickle.

model/config.json, model/model.safetensors   the trained weights, unchanged (fp32); `from_pretrained(folder / "model")`
optimizer.safetensors                        the optimizer's moments by parameter; its groups in the file's metadata
promotion.json                               figures, gates, phases so far, provenance
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import ModernBertForMaskedLM

from detour.files import write_atomic

MODEL = "model"
OPTIMIZER = "optimizer.safetensors"
PROMOTION = "promotion.json"
SEPARATOR = "//"
"""Separator of a parameter's name and the name of its moment; it occurs in neither."""


def write_promoted(folder: Path, model: ModernBertForMaskedLM, optimizer: Mapping[str, Any] | None) -> None:
    model.save_pretrained(folder / MODEL)
    if optimizer is not None:
        _write_optimizer(folder / OPTIMIZER, optimizer)


def read_moments(folder: Path) -> dict[str, dict[str, Tensor]] | None:
    """Return the optimizer's moments in a promotion's output, on the CPU; None if it has none.

    Parameter name in ModernBertForMaskedLM -> {exp_avg, exp_avg_sq, step}.
    """
    path = folder / OPTIMIZER
    if not path.exists():
        return None
    moments: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  not a mapping
            parameter, _, moment = name.partition(SEPARATOR)
            moments.setdefault(parameter, {})[moment] = file.get_tensor(name)
    return moments


def write_promotion(folder: Path, record: Mapping[str, Any]) -> None:
    write_atomic(folder / PROMOTION, json.dumps(record, indent=1, ensure_ascii=False))


def read_promotion(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / PROMOTION).read_bytes())
    return content


def _write_optimizer(path: Path, optimizer: Mapping[str, Any]) -> None:
    tensors = {
        f"{parameter}{SEPARATOR}{moment}": tensor.contiguous()
        for parameter, moments in optimizer["state"].items()
        for moment, tensor in moments.items()
    }
    save_file(tensors, path, metadata={"param_groups": json.dumps(optimizer["param_groups"])})
