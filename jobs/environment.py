"""Checks at the start of a stage that its environment is that of the submission and that its GPUs are there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from detour.environment import VARIABLE, differences, expected_environment
from detour.errors import DetourError, PermanentFailure
from detour.jobs.log import LOGGER
from detour.orchestration.local_gpus import present_gpus

TORCH_KINDS = frozenset({"pretrain", "promote", "export", "evaluate"})
"""Kinds of stages that import torch anyway."""


def require_environment(kind: str, environment: Mapping[str, str] = os.environ) -> None:
    """Check the environment for a stage of this kind; any will do if none was recorded at submission (`detour run`).

    Raises PermanentFailure for another Python, torch, transformers or Composer, or a torch without GPU support: no
    retry cures that. A node whose GPUs are gone is a DetourError, because the next attempt may get another node.
    """
    if VARIABLE not in environment:
        return
    expected = json.loads(environment[VARIABLE])
    decisive, others = differences(expected, expected_environment(cuda=False))
    if others:
        LOGGER.warning("since the submission: %s", ", ".join(others))
    if decisive:
        raise PermanentFailure(
            f"the environment is not the one of the submission: {', '.join(decisive)} in {sys.prefix}; "
            "put it back, or clear the failure with `detour retry` and submit again"
        )
    held = gpus_held(environment)
    if expected.get("cuda") and held and kind in TORCH_KINDS:
        _require_gpus(held)


def gpus_held(environment: Mapping[str, str]) -> int:
    """Number of GPUs that this process should see: those of the node that Slurm made visible to the task."""
    if (visible := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1", "NoDevFiles")])
    on_node = environment.get("SLURM_GPUS_ON_NODE", "")
    return int(on_node) if on_node.isdecimal() else 0


def sees_gpu(environment: Mapping[str, str]) -> bool:
    """Whether torch may find a GPU here, even one not allocated: when run by hand, or if Slurm does not count GPUs."""
    return gpus_held(environment) > 0 or ("CUDA_VISIBLE_DEVICES" not in environment and present_gpus() > 0)


def _require_gpus(held: int) -> None:
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        raise PermanentFailure(
            f"the job holds {held} GPU(s), but torch {torch.__version__} was built without GPU support: "
            "install a build for CUDA, clear the failure with `detour retry` and submit again"
        )
    if (seen := torch.cuda.device_count()) < held:
        raise DetourError(f"the job holds {held} GPU(s) of which torch sees {seen}: this node is broken")
