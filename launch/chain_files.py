"""Writes a plan into the workspace, so that jobs and readers need nothing but their stage's folder."""

from __future__ import annotations

import json
import os
import uuid

from detour.files import write_atomic
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.plan.build import Plan


def write_chain(workspace: Workspace, plan: Plan) -> None:
    """Stage files first, then the chain that names them, then the event: a kill leaves nothing that misleads.

    A stage that another chain brought in already keeps its file unless its way of running changed.
    """
    for stage in plan.stages:
        path = workspace.stage(stage.id) / "stage.json"
        content = json.dumps(stage.to_json(), indent=1, ensure_ascii=False).encode()
        if not workspace.is_done(stage.id) and not (path.exists() and path.read_bytes() == content):
            write_atomic(path, content)
    write_atomic(workspace.chain(plan.chain) / "plan.json", json.dumps(plan.to_json(), indent=1, ensure_ascii=False))
    journal = Journal.open(workspace, f"command-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    journal.append("chain.planned", chain=plan.chain, stages=[stage.id for stage in plan.stages])
    journal.close()
