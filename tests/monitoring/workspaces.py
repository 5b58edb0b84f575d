"""Small workspaces with a plan, made without planning anything."""

import json
from pathlib import Path
from typing import Any

from detour.ledger.attempt import Attempt
from detour.ledger.events import AttemptEnded, AttemptStarted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from tests.support.stages import prepare_stage, pretrain_stage, promote_stage
from tests.support.week import SITE

PREPARE = prepare_stage()
TRAIN = pretrain_stage("clm", {"corpus": PREPARE.id})
PROMOTE = promote_stage("clm", {"checkpoint": TRAIN.id})
CHAIN = (PREPARE, TRAIN, PROMOTE)


def make_workspace(folder: Path, chain: str = "base", stages: tuple[Stage, ...] = CHAIN, **more: Any) -> Workspace:
    workspace = Workspace(folder / "workspace")
    workspace.create()
    path = workspace.chain(chain) / "plan.json"
    path.parent.mkdir()
    plan = {"chain": chain, "stages": [stage.to_json() for stage in stages], "site": SITE, **more}
    path.write_text(json.dumps(plan))
    return workspace


def start(workspace: Workspace, stage: Stage, number: int = 1, **data: Any) -> Attempt:
    journal = Journal.open(workspace, f"{stage.id}.{number}")
    attempt = Attempt(journal, stage=stage.id, number=number, job=data.pop("job", None))
    attempt.event(AttemptStarted(**{"gpus": 2, "cpus": 8, "nodes": 1, "cluster": "here", **data}))
    return attempt


def end(attempt: Attempt, outcome: str = "done", **data: Any) -> None:
    attempt.event(AttemptEnded(outcome=outcome, **data))
    assert attempt.journal is not None
    attempt.journal.close()


def mark_done(workspace: Workspace, stage: Stage) -> None:
    workspace.output(stage.id).mkdir(parents=True)
    workspace.manifest(stage.id).write_text("{}")


def mark_failed(workspace: Workspace, stage: Stage, reason: str) -> None:
    workspace.stage(stage.id).mkdir(parents=True)
    workspace.failure(stage.id).write_text(json.dumps({"reason": reason}))
