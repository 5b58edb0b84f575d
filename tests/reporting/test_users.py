"""Hours by user, in a workspace that several share."""

from __future__ import annotations

from detour.ledger.workspace import Workspace
from detour.planning.files import Target, write_plan
from detour.planning.plan import Plan
from detour.planning.stage import PretrainStage
from detour.rendering.contents import tables
from detour.reporting.build import Question, build_report
from tests.reporting.worked import CLUSTER, EVENING_S, NOW_S, SITE, site_of
from tests.support.past import Past
from tests.support.stages import make_stages


def rows_of(workspace: Workspace, *users: str) -> list[tuple[object, ...]]:
    """Trainings on 4 GPUs for an hour, after half an hour without events, and on 2 GPUs for two hours."""
    workspace.create()
    stages = make_stages()
    write_plan(workspace, Plan("base", stages), Target(CLUSTER, SITE))
    trainings = [stage.id for stage in stages if isinstance(stage, PretrainStage)]
    for number, (user, stage, gpus) in enumerate(zip(users, trainings, (4, 2), strict=True), 1):
        past, job = Past(workspace, f"{stage}.0001"), str(number)
        past.add("journal.opened", EVENING_S, {"host": "n1", "pid": 7, "user": user})
        past.attempt(stage, EVENING_S, 3600.0 * number, job=job, gpus=gpus, cpus=8, cluster=CLUSTER)
        run = {"source": "sacct", "gpus": gpus, "cpus": 8, "nodes": 1, "stages": [stage], "profile": CLUSTER}
        past.add("job.accounted", NOW_S, {**run, "start_s": EVENING_S, "elapsed_s": 3600.0 * number}, job=job)
        if number == 1:
            lost = {"start_s": EVENING_S - 7200, "elapsed_s": 1800.0, "state": "NODE_FAIL"}
            past.add("job.accounted", NOW_S, {**run, **lost}, job=job)
        past.write()
    report = build_report(workspace, Question(), site_of, NOW_S)
    table = next(iter(table for table in tables(report) if table.name == "by-user"), None)
    return [] if table is None else [tuple(row)[:3] for row in table.data()]


def test_each_user_has_the_hours_of_their_jobs_also_of_runs_without_events(workspace: Workspace) -> None:
    assert rows_of(workspace, "ada", "bob") == [("ada", 2, 6.0), ("bob", 1, 4.0)]


def test_the_work_of_one_user_needs_no_table(workspace: Workspace) -> None:
    assert rows_of(workspace, "ada", "ada") == []
