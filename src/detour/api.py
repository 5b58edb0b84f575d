"""The public interface: what the verbs of the command line do, from Python. See docs/python.md.

    import detour

    plan = detour.plan("quickstart", "phases.mlm.tokens=30k")
    detour.price(plan, "jean-zay").whole.gpu_hours.expected
    detour.run(plan)
    detour.status("quickstart")

Arguments that several functions share:

    plan         what `plan` returns
    cluster      a profile: its name, its file, or a `Cluster`
    workspace    a directory; without one $DETOUR_WORKSPACE, else ./workspace. It need not exist yet
    retry        also do the stages that failed for good; else they and their dependents are left out
    over_budget  why a hard cap may be exceeded; recorded

Nothing here prints or asks. Errors are those of `detour.errors`: one sentence each, with the exit code of the verb.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from detour.errors import UserError
from detour.ledger.workspace import Workspace

if TYPE_CHECKING:
    from detour.budgets.arithmetic import Line
    from detour.config.cluster import Cluster
    from detour.config.project import Project
    from detour.monitoring.status import Status
    from detour.orchestration.local_run import Ran
    from detour.orchestration.plans import Planned
    from detour.orchestration.submit import Submitted
    from detour.pricing.plan_price import PlanPrice
    from detour.reporting.period import Period
    from detour.reporting.report import Report

PathLike: TypeAlias = "str | Path"
ClusterLike: TypeAlias = "str | Path | Cluster"


def plan(recipe: PathLike, *overrides: str) -> Planned:
    """Plan a recipe or a sweep, given by file or by name; nothing is written.

    `overrides` are `key=value`, as on the command line. Files that are missing here are listed in
    `planned.shared.missing`: such a plan can be priced but not run. Raises RecipeError, which names file, line and key
    of every mistake, and UserError for files whose first rows do not fit the recipe.
    """
    from detour.orchestration.first_look import check_files
    from detour.orchestration.plans import load_plans

    planned = load_plans(Path(recipe), overrides)
    check_files(planned.shared.stages.values())
    return planned


def price(
    plan: Planned, cluster: ClusterLike, *, gpus: int | None = None, workspace: PathLike | None = None
) -> PlanPrice:
    """Price all stages of a plan on a cluster, also those that are done: GPU-hours, kWh and g CO2eq with their bands.

    gpus       GPUs of a training; without, what the profile says
    workspace  whose finished stages refine the estimate

    Stages that cannot be estimated are named in `unpriced` and are in no sum. Raises RecipeError for a bad profile,
    UserError for a number of GPUs that it cannot give.
    """
    from detour.ledger.view import LedgerView
    from detour.orchestration.gpu_shapes import check_gpus
    from detour.pricing.plan_price import price_in

    at, profile, stages = Workspace.find(workspace), _cluster(cluster), plan.shared.stages.values()
    check_gpus(stages, profile, gpus)
    return price_in(at, LedgerView(at).state, stages, profile, gpus)


def submit(
    plan: Planned,
    cluster: ClusterLike,
    *,
    gpus: int | None = None,
    qos: str | None = None,
    account: str | None = None,
    wall_s: int | None = None,
    segments: int | None = None,
    parallelism: int | None = None,
    workspace: PathLike | None = None,
    retry: bool = False,
    over_budget: str | None = None,
    on_wait: Callable[[str], None] | None = None,
    finish_interrupted: Callable[[], bool] | None = None,
) -> Submitted:
    """Submit what is missing of a plan to Slurm, exactly once, and return. Called again, it submits nothing twice.

    gpus, qos, account  of jobs on GPUs; without, what the profile says
    wall_s, segments    time limit of one segment of a training, and how many; without, by the estimate
    parallelism         evaluations at once
    on_wait             called once with the other submitter's name, if one must be waited for
    finish_interrupted  asked after Ctrl-C: True completes the submission (so it is without this), False withdraws it

    Raises UserError for a plan that cannot run; BudgetRefused; StageFailed if only failed stages and their dependents
    are left; SchedulerUnavailable if Slurm gives no answer or keeps jobs held (call again); SubmissionRefused if it
    refuses a job.
    """
    from detour.ledger.folders import workspace_umask
    from detour.orchestration.requests import JobOptions
    from detour.orchestration.submit import order_for, send

    at = Workspace.find(workspace)
    options = JobOptions(gpus, qos, account, wall_s, segments, parallelism)
    order = order_for(at, plan, _cluster(cluster), options, retry=retry)
    with workspace_umask(at.root):
        sent = send(
            at,
            order,
            over_budget=over_budget,
            on_wait=on_wait or (lambda holder: None),  # noqa: ARG005
            finish_interrupted=finish_interrupted or (lambda: True),
        )
    sent.require_done()
    return sent


def run(
    plan: Planned,
    *,
    cores: int | None = None,
    gpus: int | None = None,
    cluster: ClusterLike = "local",
    workspace: PathLike | None = None,
    retry: bool = False,
    over_budget: str | None = None,
    on_caps: Callable[[Sequence[Line]], None] | None = None,
    on_refresh: Callable[[Collection[str]], None] | None = None,
    on_stop: Callable[[], None] | None = None,
) -> Ran:
    """Run what is missing of a plan on this machine, and return when nothing more can be started.

    cores, gpus  to use; without, all of this machine, of its GPUs those in CUDA_VISIBLE_DEVICES
    cluster      the profile with this machine's PUE and grid factor
    on_caps      called before the start with the caps of budgets that the run exceeds, if any
    on_refresh   called four times a second with the ids of the running stages
    on_stop      called at the first Ctrl-C, when the running stages save and end; the second raises KeyboardInterrupt

    Failed stages are not raised: see `failures` and `left` of the result. Raises UserError for a plan that cannot run
    and outside the main thread, where no signal arrives; BudgetRefused.
    """
    from detour.ledger.folders import workspace_umask
    from detour.orchestration.local_run import local_order, run_here

    if threading.current_thread() is not threading.main_thread():
        raise UserError("detour.run handles Ctrl-C, which only the main thread receives: call it from there")
    at = Workspace.find(workspace)
    order = local_order(at, plan, _cluster(cluster), cores=cores, gpus=gpus, retry=retry)
    with workspace_umask(at.root):
        return run_here(
            order,
            over_budget=over_budget,
            on_caps=on_caps or (lambda caps: None),  # noqa: ARG005
            on_refresh=on_refresh or (lambda running: None),  # noqa: ARG005
            on_stop=on_stop or (lambda: None),
        )


def status(*chains: str, workspace: PathLike | None = None, offline: bool = False) -> Status:
    """Show where chains are, all of the workspace if none is named, from markers, the ledger and Slurm.

    Slurm is asked only while jobs are open, no more often than the cluster's poll interval, and never if `offline`.
    Raises UserError for an unknown chain.
    """
    from detour.monitoring.monitor import monitor

    return monitor(Workspace.find(workspace), offline=offline).look(chains)


def report(
    *chains: str,
    workspace: PathLike | None = None,
    cluster: ClusterLike | None = None,
    period: Period | None = None,
    project: Project | None = None,
    site_figure: str | None = None,
) -> Report:
    """Report what chains trained, what they used and how they scored, all of the workspace if none is named.

    sacct is asked, where there is one, for what jobs have held since it was last asked; it is kept in the ledger.
    PUE, grid factor and power are those of `cluster`, wherever the jobs ran; without, each job's own cluster's.

    chains       chains, sweeps, and patterns of their names
    period       only what was used in it; `detour.reporting.period.period_of("2026-Q3", None, None, now_s)` makes one
    project      who it is by, and which models were released; without, `configs/project.yaml` if there is one
    site_figure  the site's own figure, as "1234.5 GPU-h", to be set against ours

    `detour.rendering.html.render_html` makes the page. Raises UserError for an unknown name.
    """
    from detour.accounting.site import profile_sites
    from detour.budgets.caps import load_budgets
    from detour.config.project import load_project
    from detour.ledger.view import LedgerView
    from detour.orchestration.accounts import record_accounts
    from detour.reporting.build import Question, build_report
    from detour.reporting.period import Period

    at, site_of = Workspace.find(workspace), profile_sites(None if cluster is None else _cluster(cluster))
    view = LedgerView(at)
    said = record_accounts(view)
    by = project or load_project()
    when = period or Period(time_zone=by.time_zone if by else "UTC")
    question = Question(chains, when, by, load_budgets(), site_figure, said)
    return build_report(at, question, site_of, time.time(), view)


def _cluster(cluster: ClusterLike) -> Cluster:
    from detour.config.loading import load_cluster

    return load_cluster(cluster) if isinstance(cluster, str | Path) else cluster
