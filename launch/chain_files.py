"""Writes a plan into the workspace, so that jobs and readers need nothing but their stage's folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from detour.accounting.site import site_of
from detour.files import write_atomic
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.plan.build import Plan
from detour.recipe.cluster import Cluster


def write_chain(workspace: Workspace, plan: Plan, cluster: Cluster) -> None:
    """Stage files first, then the chain that names them, then the event: a kill leaves nothing that misleads.

    The chain's file also holds the place's PUE, grid factor and powers, so that `status` needs no profile.

    A stage that another chain brought in already keeps its file unless its way of running changed.
    """
    for stage in plan.stages:
        path = workspace.stage(stage.id) / "stage.json"
        content = json.dumps(stage.to_json(), indent=1, ensure_ascii=False).encode()
        if not workspace.is_done(stage.id) and not (path.exists() and path.read_bytes() == content):
            write_atomic(path, content)
    chain = {**plan.to_json(), "cluster": cluster.name, "site": asdict(site_of(cluster))}
    write_atomic(workspace.chain(plan.chain) / "plan.json", json.dumps(chain, indent=1, ensure_ascii=False))
    with Journal.open(workspace, f"command-{os.getpid()}") as journal:
        stages = [stage.id for stage in plan.stages]
        journal.append("chain.planned", chain=plan.chain, cluster=cluster.name, stages=stages)
