"""Small valid recipes for tests, without a file, and benchmarks of files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detour.config.layers import read_layers
from detour.config.loading import absolute_paths
from detour.config.models import Benchmark, Recipe
from detour.config.validation import validate
from detour.config.yaml_source import Node

BASIC: dict[str, Any] = {
    "name": "tiny",
    "model": {"config": {"hidden_size": 32, "num_hidden_layers": 2}},
    "tokenizer": {"train": {"vocabulary": 512}},
    "data": {
        "sources": [{"name": "labels", "path": "labels.csv", "column": "text"}],
        "sequence_length": 64,
        "validation_tokens": 1000,
    },
    "batch": {"sequences": 4},
    "optimizer": {"lr": 1e-3},
    "phases": [
        {"name": "clm", "objective": "causal", "tokens": 8192, "schedule": {"kind": "warmup_constant", "warmup": 512}},
        {
            "name": "mlm",
            "objective": "masked",
            "masking_rate": 0.15,
            "tokens": 2048,
            "schedule": {"kind": "one_minus_sqrt"},
        },
    ],
    "benchmark": {
        "name": "tiny",
        "seeds": [1, 2],
        "tasks": [
            {
                "name": "chapter",
                "type": "single_label",
                "data": {"path": "labels.csv", "text": "text", "label": "code"},
                "split": {"train": 10, "validation": 5, "test": 5},
                "max_length": 32,
                "epochs": 1,
            }
        ],
    },
}


def written(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The basic recipe as a mapping, with `a.b.c` paths replaced; list items are addressed by name or index."""
    data = copy.deepcopy(BASIC)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        target: Any = data
        for name in parents:
            target = _item(target, name)
        if isinstance(target, list):
            target[_index(target, last)] = value
        else:
            target[last] = value
    return data


def make_recipe(changes: Mapping[str, Any] | None = None) -> Recipe:
    return Recipe.model_validate(written(changes))


def _item(target: Any, name: str) -> Any:
    return target[_index(target, name)] if isinstance(target, list) else target.setdefault(name, {})


def _index(items: list[Any], name: str) -> int:
    return int(name) if name.isdigit() else [item["name"] for item in items].index(name)


def load_benchmark(path: Path) -> Benchmark:
    """Read a benchmark's file without a recipe."""
    tree, problems = read_layers(path)
    whole = absolute_paths(Node(tree.position, {"benchmark": tree}))
    assert isinstance(whole.value, dict)
    return validate(Benchmark, whole.value["benchmark"], problems)
