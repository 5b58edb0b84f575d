"""Workspaces with plans and stage folders of any shape, in which nothing has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from detour.ledger.workspace import Workspace


def stage_json(stage: str, inputs: Sequence[str]) -> dict[str, object]:
    kind, _, key = stage.partition("-")
    roles = {str(number): one for number, one in enumerate(inputs)}
    settings = {"task": {"name": "task"}, "seed": 1} if kind == "evaluate" else {}
    return {"kind": kind, "key": key, "label": stage, "settings": settings, "inputs": roles}


def make_workspace(root: Path, inputs: Mapping[str, Sequence[str]], chains: Mapping[str, Sequence[str]]) -> Workspace:
    """All stages are done; `inputs` are those of each stage, `chains` names the stages of each chain."""
    workspace = Workspace(root)
    workspace.create()
    for stage, of_stage in inputs.items():
        output = workspace.output(stage)
        output.mkdir(parents=True)
        (workspace.stage(stage) / "stage.json").write_bytes(orjson.dumps(stage_json(stage, of_stage)))
        (output / "manifest.json").write_text("{}")
        (output / "model.safetensors").write_bytes(b"0" * 1000)
    for chain, stages in chains.items():
        workspace.chain(chain).mkdir(parents=True)
        plan = {"chain": chain, "stages": [stage_json(stage, inputs[stage]) for stage in stages]}
        (workspace.chain(chain) / "plan.json").write_bytes(orjson.dumps(plan))
    return workspace
