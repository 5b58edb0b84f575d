"""Orders about jobs of several Slurm clusters of one site, whose ids are the same: each reaches its own cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from detour.config.loading import load_cluster
from detour.errors import SchedulerUnavailable
from detour.ledger.process import user_name
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration import cluster_orders, control
from detour.orchestration import submit as submit_module
from detour.orchestration.order import Order, PlanGroup, make_order
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import send
from detour.planning.build import Planner
from detour.planning.files import read_plan
from detour.planning.plan import Plan
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from tests.monitoring.workspaces import mark_done
from tests.scheduler.fake_slurm import FakeSlurm
from tests.support.recipes import make_recipe
from tests.support.stages import assumed_file

CLUSTERS = (None, "far")
NAMES, RATES = ("near", "far"), (1e-3, 2e-3)


def silent(_: str) -> None:
    """Report no wait for another submission."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> dict[str | None, FakeSlurm]:
    """The login nodes' own cluster and another one."""
    clusters = {cluster: FakeSlurm(user=user_name()) for cluster in CLUSTERS}

    def clients(cluster: str | None = None, **_: object) -> Slurm:
        def run(command: Sequence[str], timeout_s: float) -> CommandResult:
            words = [word for word in command if word != f"--clusters={cluster}"]
            assert len(words) == len(command) - (cluster is not None)
            return clusters[cluster](words, timeout_s)

        return Slurm(run, cluster=cluster)

    for module in (submit_module, cluster_orders):
        monkeypatch.setattr(module, "Slurm", clients)
    for room in ("control", "withdrawing"):
        monkeypatch.setattr(f"detour.scheduler.{room}.LATE_S", 0.0)
    return clusters


def order_of(workspace: Workspace, plan: Plan, cluster: str | None) -> Order:
    profile = load_cluster("slurm-local").model_copy(update={"slurm_cluster": cluster})
    return make_order(workspace, PlanGroup(plan.chain, [plan]), profile, JobOptions())


def submit(workspace: Workspace, plan: Plan, cluster: str | None) -> None:
    order = order_of(workspace, plan, cluster)
    send(
        workspace,
        replace(order, plans=(plan,)),
        on_wait=silent,
        finish_interrupted=lambda: False,
    )


@pytest.fixture
def workspace(tmp_path: Path, site: dict[str | None, FakeSlurm]) -> Workspace:  # noqa: ARG001
    """A chain in the queue of each cluster; both share the corpus, which is done."""
    made, planner = Workspace(tmp_path / "workspace"), Planner(assumed_file)
    plans = [
        planner.plan(make_recipe({"name": name, "optimizer.lr": lr})) for name, lr in zip(NAMES, RATES, strict=True)
    ]
    made.create()
    for stage in plans[0].stages:
        if stage.kind == "prepare":
            mark_done(made, stage)
    for plan, cluster in zip(plans, CLUSTERS, strict=True):
        submit(made, plan, cluster)
    return made


def ids(slurm: FakeSlurm) -> list[int]:
    return [job.id for job in slurm.live()]


def test_a_chain_is_cancelled_on_its_own_cluster(workspace: Workspace, site: dict[str | None, FakeSlurm]) -> None:
    sent = ids(site[None])
    assert ids(site["far"]) == sent != []
    control.cancel(workspace, ["far"], on_wait=silent).require_done()
    assert (ids(site[None]), ids(site["far"])) == (sent, [])


def test_chains_of_two_clusters_are_held_released_and_cancelled_in_one_order(
    workspace: Workspace, site: dict[str | None, FakeSlurm]
) -> None:
    for verb in (control.hold, control.release):
        reached = verb(workspace, NAMES, on_wait=silent)
        reached.require_done()
        assert {job.held for slurm in site.values() for job in slurm.live()} == {verb is control.hold}
    reached = control.cancel(workspace, NAMES, on_wait=silent)
    reached.require_done()
    assert not any(slurm.live() for slurm in site.values())
    assert sorted(reached.affected.ids) == sorted(
        [*(str(job) for job in site[None].jobs), *(f"{job} on far" for job in site["far"].jobs)]
    )


def test_a_cluster_that_does_not_answer_is_named_and_its_stages_stay_submitted(
    workspace: Workspace, site: dict[str | None, FakeSlurm]
) -> None:
    site["far"].down = True
    reached = control.cancel(workspace, NAMES, on_wait=silent)
    assert ids(site[None]) == []
    with pytest.raises(SchedulerUnavailable, match="squeue of far failed"):
        reached.require_done()
    stages = LedgerView(workspace).state.stages.values()
    assert {stage.slurm_clusters.popitem()[1]: bool(stage.jobs) for stage in stages} == {"": False, "far": True}
    site["far"].down = False
    control.cancel(workspace, NAMES, on_wait=silent).require_done()
    assert ids(site["far"]) == []


def test_jobs_are_cancelled_where_they_were_sent_even_if_their_chain_is_now_planned_elsewhere(
    workspace: Workspace, site: dict[str | None, FakeSlurm]
) -> None:
    sent, path = ids(site[None]), workspace.chain("far") / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"slurm_cluster": None}))
    control.cancel(workspace, ["far"], on_wait=silent).require_done()
    assert (ids(site[None]), ids(site["far"])) == (sent, [])


def test_a_chain_that_is_submitted_to_another_cluster_is_warned_of_its_jobs_on_the_first(
    workspace: Workspace, site: dict[str | None, FakeSlurm]
) -> None:
    plan, _ = read_plan(workspace, "near")
    assert order_of(workspace, plan, None).warnings == ()
    count, first = len(ids(site[None])), ids(site[None])[0]
    assert order_of(workspace, plan, "far").warnings == (
        f"the default Slurm cluster may have {count} jobs of these stages too, such as {first} (pretrain clm): to run "
        "them only here, cancel the chain everywhere with `detour cancel` and submit it again",
    )
    control.cancel(workspace, ["near"], on_wait=silent).require_done()
    assert order_of(workspace, plan, "far").warnings == ()


def test_after_the_ledger_was_lost_jobs_are_adopted_with_their_cluster(
    workspace: Workspace, site: dict[str | None, FakeSlurm]
) -> None:
    shutil.rmtree(workspace.ledger)
    workspace.create()
    control.adopt(workspace, on_wait=silent).require_done()
    stages = LedgerView(workspace).state.stages.values()
    adopted = [(cluster, job) for stage in stages for job, cluster in stage.slurm_clusters.items()]
    sent = [(cluster or "", job) for cluster, slurm in site.items() for one in slurm.live() for job in one.shown_ids]
    assert sorted(adopted) == sorted(sent)
