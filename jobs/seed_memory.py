"""How many fine-tunings fit in the memory of a machine without a GPU, by an upper estimate."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detour.accounting.allocation import read_allocation
from detour.config.models import Task

COPIES = 5
"""Copies of the weights in fp32: themselves, their gradients, the optimizer's two moments, and the best so far."""
KEPT = {"hidden_size": 32, "intermediate_size": 8}
"""Numbers that each layer stores for the backward pass, per token and dimension.

In ModernBERT as transformers computes it, about 22 and 5.
"""
FP32_BYTES = 4
CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""A container's limits, in both versions of control groups."""
SHARE = 0.5
"""Share of the free memory to use; the rest is for everything else."""


def seeds_that_fit(task: Task, model: Path) -> int:
    """At least 1; 1 if the export does not give its size."""
    try:
        config = json.loads((model / "config.json").read_bytes())
        weights_bytes = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    except (OSError, ValueError):
        return 1
    free, each = free_bytes(), seed_bytes(config, weights_bytes, task)
    return max(1, int(SHARE * free // each)) if free and each else 1


def seed_bytes(config: Mapping[str, Any], weights_bytes: int, task: Task) -> int | None:
    """Memory of one fine-tuning. `weights_bytes` may be those of half-precision weights, which are trained in fp32."""
    try:
        a_token = int(config["num_hidden_layers"]) * sum(int(config[size]) * number for size, number in KEPT.items())
    except (KeyError, TypeError, ValueError):
        return None
    tokens = task.batch_sequences * task.max_length
    return COPIES * 2 * weights_bytes + FP32_BYTES * tokens * a_token


def free_bytes(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int | None:
    """What the machine has left, at most the limit of the job or the container; None if nothing is known."""
    given_gb = read_allocation(environment).ram_gb
    limits = [None if given_gb is None else int(given_gb * 1e9), _available_bytes(root / "proc" / "meminfo")]
    limits += [_limit_bytes(root / "sys" / "fs" / "cgroup" / name) for name in CGROUP_LIMITS]
    return min((limit for limit in limits if limit is not None), default=None)


def _available_bytes(meminfo: Path) -> int | None:
    try:
        lines = (line.partition(":") for line in meminfo.read_text().splitlines())
        return next((int(value.split()[0]) * 1024 for name, _, value in lines if name == "MemAvailable"), None)
    except OSError:
        return None


def _limit_bytes(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
