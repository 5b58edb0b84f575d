"""The public Python interface, equivalent to the verbs of the command line. See docs/python.md.

    import detour

    plan = detour.plan("quickstart", "phases.mlm.tokens=30k")
    detour.price(plan, "jean-zay").whole.gpu_hours.expected
    detour.run(plan)
    detour.status("quickstart")

Arguments that several functions share:

    plan         the result of `plan`
    cluster      a cluster profile: its name, its file, or a `Cluster`
    workspace    a directory, by default $DETOUR_WORKSPACE or ./workspace; it need not exist yet
    retry        also run stages that failed permanently; otherwise they and their dependents are left out
    over_budget  the reason for exceeding a hard cap, which is recorded

Nothing here prints or prompts. Errors are those of `detour.errors`: one sentence each, with the verb's exit code. Those
of the file system (a full disk, no permission) are Python's OSError.
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
    """Plan a recipe or a sweep, given by file or name, without writing anything.

    `overrides` are `key=value`, as on the command line. Files that are missing on this machine are listed in
    `planned.shared.missing`: such a plan can be priced but not run. Raises RecipeError, which names file, line and key
    of every mistake, and UserError for files whose first rows do not fit the recipe.
    """
    from detour.orchestration.input_check import check_files
    from detour.orchestration.plans import load_plans

    planned = load_plans(Path(recipe), overrides)
    check_files(planned.shared.stages.values())
    return planned


def price(
    plan: Planned, cluster: ClusterLike, *, gpus: int | None = None, workspace: PathLike | None = None
) -> PlanPrice:
    """Price all stages of a plan on a cluster, including finished ones: GPU-hours, kWh and g CO2eq with their bands.

    gpus       GPUs of a training, by default as in the profile
    workspace  the workspace whose finished stages refine the estimates

    Stages that cannot be estimated are listed in `unpriced` and excluded from sums. Raises RecipeError for an invalid
    profile, UserError for a number of GPUs that the cluster cannot provide.
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
    """Submit the missing stages of a plan to Slurm, exactly once, and return. Calling it again submits nothing twice.

    gpus, qos, account  options of GPU jobs, by default as in the profile
    wall_s, segments    time limit of one segment of a training, and their number, by default from the estimate
    parallelism         maximum number of concurrent evaluations, but at least one of each array
    on_wait             called once with the other submitter's name, if it must wait for one
    finish_interrupted  called after Ctrl-C: True (the default) completes the submission, False withdraws it

    Raises UserError for a plan that cannot run; BudgetRefused; StageFailed if only failed stages and their dependents
    are left; SchedulerUnavailable if Slurm does not answer or keeps jobs held (call again); SubmissionRefused if Slurm
    refuses a job.
    """
    from detour.ledger.folders import workspace_umask
    from detour.orchestration.order import order_for
    from detour.orchestration.requests import JobOptions
    from detour.orchestration.submit import send

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
    """Run the missing stages of a plan on this machine, and return when no more can be started.

    cores, gpus  resources to use, by default all cores and the GPUs in CUDA_VISIBLE_DEVICES (or all)
    cluster      the profile with this machine's PUE and grid factor
    on_caps      called before the start with the budget caps that the run exceeds, if any
    on_refresh   called four times a second with the ids of the running stages
    on_stop      called at the first Ctrl-C, upon which running stages save and end; a second raises KeyboardInterrupt

    Failed stages do not raise: see `failures` and `left` of the result. Raises UserError for a plan that cannot run or
    outside the main thread, which alone receives signals; BudgetRefused.
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
            on_wait=lambda holder: None,  # noqa: ARG005
            on_accepted=lambda caps: on_caps(caps) if on_caps and caps else None,
            on_refresh=on_refresh or (lambda running: None),  # noqa: ARG005
            on_stop=on_stop or (lambda: None),
        )


def status(*chains: str, workspace: PathLike | None = None, offline: bool = False) -> Status:
    """Return the status of chains, by default all of the workspace, from markers, the ledger and Slurm.

    Slurm is queried only while jobs are open, at most once per poll interval of the cluster, and never if `offline`.
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
    """Report what chains trained, used and scored, by default all of the workspace.

    If sacct is available, it is queried for allocations since the last query, which are recorded in the ledger.
    PUE, grid factor and power are those of `cluster` if given, otherwise of the cluster on which each job ran.

    chains       chains, sweeps, and patterns of their names
    period       count only usage within it; `detour.reporting.period.period_of("2026-Q3", None, None, now_s)` makes one
    project      the project and its released models, by default from `configs/project.yaml` if it exists
    site_figure  the site's own figure, such as "1234.5 GPU-h", to compare with ours

    `detour.rendering.html.render_html` renders the page. Raises UserError for an unknown name.
    """
    from detour.accounting.site import outdated_constants, profile_sites
    from detour.budgets.caps import load_budgets
    from detour.config.project import load_project
    from detour.orchestration.accounts import record_accounts
    from detour.reporting.build import Question, build_report, read
    from detour.reporting.period import Period

    at = Workspace.find(workspace)
    by = project or load_project()
    reading = read(at, chains, by)
    site_of = profile_sites(reading.targets, None if cluster is None else _cluster(cluster))
    said = [*record_accounts(reading.view), *(outdated_constants(reading.targets) if cluster is None else ())]
    when = period or Period(time_zone=by.time_zone if by else "UTC")
    question = Question(chains, when, by, load_budgets(), site_figure, said)
    return build_report(at, question, site_of, time.time(), reading)


def _cluster(cluster: ClusterLike) -> Cluster:
    from detour.config.loading import load_cluster

    return load_cluster(cluster) if isinstance(cluster, str | Path) else cluster
