"""The public interface: what the verbs of the command line do, from Python. See docs/python.md.

    import detour

    planned = detour.plan("configs/recipes/quickstart.yaml")
    detour.price(planned, "jean-zay").whole.gpu_hours
    detour.run(planned)
    detour.status("quickstart")

Nothing here prints or asks. Errors are those of `detour.errors`; each has the exit code with which a verb would end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detour.ledger.workspace import Workspace

if TYPE_CHECKING:
    from detour.budgets.arithmetic import Line
    from detour.config.cluster import Cluster
    from detour.monitoring.status import Status
    from detour.orchestration.local_run import Ran
    from detour.orchestration.plans import Planned
    from detour.orchestration.requests import JobOptions
    from detour.orchestration.submit import Submitted
    from detour.pricing.plan_price import PlanPrice
    from detour.reporting.data import Report


def plan(recipe: str | Path, overrides: Sequence[str] = ()) -> Planned:
    """The chain of a recipe, or the chains of a sweep, with the key of every stage; nothing is written.

    `overrides` are `key=value`, as on the command line. Inputs that are missing here are named in the plan, which can
    then be priced but not run. Raises RecipeError with file, line and key of every mistake.
    """
    from detour.orchestration.plans import load_plans

    return load_plans(Path(recipe), overrides)


def price(
    planned: Planned, cluster: str | Cluster, *, gpus: int | None = None, workspace: str | Path | None = None
) -> PlanPrice:
    """GPU-hours, kWh and g CO2eq of all stages of a plan on a cluster, each with a band and its source.

    cluster    a profile: its name, its file, or the profile itself
    gpus       that a training uses; the profile's default without
    workspace  whose finished stages refine the estimate

    Raises RecipeError for a profile that cannot be read.
    """
    from detour.ledger.state import load_state
    from detour.pricing.plan_price import price_in

    place = Workspace.find(workspace)
    return price_in(place, load_state(place)[0], planned.shared.stages.values(), _cluster(cluster), gpus)


def submit(
    planned: Planned,
    cluster: str | Cluster,
    *,
    workspace: str | Path | None = None,
    options: JobOptions | None = None,
    retry: bool = False,
    over_budget: str | None = None,
    on_wait: Callable[[str], None] = lambda holder: None,  # noqa: ARG005
    finish_interrupted: Callable[[], bool] = lambda: True,
) -> Submitted:
    """Submit what is missing of a plan to Slurm, exactly once, and return; again, it completes and repeats nothing.

    retry               include stages that failed for good
    over_budget         why a hard cap may be exceeded; recorded
    on_wait             is given who else is submitting, while that is waited for
    finish_interrupted  asked after Ctrl-C: True completes the submission, False withdraws it

    Raises UserError for a plan that cannot run, BudgetRefused, SchedulerUnavailable, SubmissionRefused, StageFailed
    where only failed stages and their dependents are left.
    """
    from detour.orchestration.requests import JobOptions
    from detour.orchestration.submit import order_for, send

    place = Workspace.find(workspace)
    order = order_for(place, planned, _cluster(cluster), options or JobOptions(), retry=retry)
    return send(place, order, over_budget=over_budget, on_wait=on_wait, finish_interrupted=finish_interrupted)


def run(
    planned: Planned,
    *,
    cluster: str | Cluster = "local",
    workspace: str | Path | None = None,
    cores: int | None = None,
    gpus: int | None = None,
    retry: bool = False,
    over_budget: str | None = None,
    on_caps: Callable[[Sequence[Line]], None] = lambda caps: None,  # noqa: ARG005
    on_refresh: Callable[[Collection[str]], None] = lambda running: None,  # noqa: ARG005
    on_stop: Callable[[], None] = lambda: None,
) -> Ran:
    """Run what is missing of a plan on this machine, and return when nothing more can be started.

    cluster     profile with this machine's PUE and grid factor
    cores, gpus to use; all of this machine without
    on_refresh  called four times a second with the ids of the running stages
    on_stop     called at the first Ctrl-C, when the running stages save and end

    Failed stages are in the result, not raised. Raises UserError for a plan that cannot run, BudgetRefused.
    """
    from detour.orchestration.local_run import local_order, run_here

    order = local_order(Workspace.find(workspace), planned, _cluster(cluster), cores=cores, gpus=gpus, retry=retry)
    return run_here(order, over_budget=over_budget, on_caps=on_caps, on_refresh=on_refresh, on_stop=on_stop)


def status(*chains: str, workspace: str | Path | None = None, offline: bool = False) -> Status:
    """Where chains are, all of them without a name: one reading of markers, ledger and, unless `offline`, Slurm.

    Slurm is asked only while jobs are open, and no more often than the cluster's poll interval. Raises UserError for an
    unknown chain.
    """
    from detour.monitoring.monitor import monitor

    return monitor(Workspace.find(workspace), offline=offline).look(chains)


def report(*chains: str, workspace: str | Path | None = None, cluster: str | None = None) -> Report:
    """What was trained, what it cost and what came out; `to_json()` and `detour.reporting.html` render it.

    `cluster` takes PUE, grid factor and power from one profile, wherever the jobs ran. Raises UserError for an unknown
    chain.
    """
    from detour.accounting.site import profile_sites
    from detour.reporting.build import build_report

    return build_report(Workspace.find(workspace), chains, profile_sites(cluster), time.time())


def _cluster(cluster: str | Cluster) -> Cluster:
    from detour.config.loading import load_cluster

    return load_cluster(cluster) if isinstance(cluster, str) else cluster
