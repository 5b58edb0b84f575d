"""When to start a plan: its emissions by hour of start, next to the expected start in the queue. Changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from detour.accounting.hourly import read_hourly
from detour.errors import UserError
from detour.forecasting.forecaster import Forecaster, NoForecast
from detour.forecasting.own_history import read_history
from detour.forecasting.waits import shape_of
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.orchestration.plans import Planned
from detour.planning.files import chain_names
from detour.planning.stage import Stage
from detour.pricing.limits import stage_limit_s
from detour.pricing.plan_price import PlanPrice
from detour.pricing.when import QueueStart, StartTimes, start_times
from detour.scheduler.commands import Slurm


def when_to_start(
    workspace: Workspace, planned: Planned, left: Sequence[Stage], price: PlanPrice, file: Path | None, now_s: float
) -> StartTimes:
    """Uses the factors of `file` or else of the profile. Raises UserError if there are none, or nothing to compare."""
    hourly = price.cluster.site.grid_hourly
    if file is None and hourly is None:
        raise UserError(
            "no hourly grid factors: name a CSV of hour,g_per_kwh with --factors, or set site.grid_hourly in the "
            f"profile of {price.cluster.name} (docs/energy.md)"
        )
    factors = read_hourly(file or Path(hourly.path if hourly else ""))
    queue = _queued(workspace, [plan.chain for plan in planned.plans]) or _usual(workspace, left, price, now_s)
    return start_times(left, price.prices, price.cluster, factors, now_s, queue)


def _queued(workspace: Workspace, chains: Sequence[str]) -> QueueStart | None:
    """The earliest start that Slurm expects for a pending job of the plan; None if there is none."""
    submitted = sorted(set(chains) & set(chain_names(workspace)))
    if not submitted:
        return None
    rows = [row for chain in monitor(workspace).look(submitted).chains for row in chain.stages]
    first_s = min((row.starts_s for row in rows if row.starts_s is not None), default=None)
    return None if first_s is None else QueueStart(first_s, "Slurm expects")


def _usual(workspace: Workspace, left: Sequence[Stage], price: PlanPrice, now_s: float) -> QueueStart | None:
    """The start if submitted now: after the median wait of the user's past jobs of the first GPU stage's shape.

    None without sacct, or with too little history.
    """
    first = next((stage for stage in left if price.prices[stage.id].gpus), None)
    if first is None or price.cluster.scheduler != "slurm" or shutil.which("sacct") is None:
        return None
    history = read_history(workspace, Slurm(cluster=price.cluster.slurm_cluster), now_s)
    account = price.cluster.full_account("gpu") or (history.waits[-1].account if history.waits else "")
    shape = shape_of(price.prices[first.id].gpus, stage_limit_s(first, price.prices[first.id]))
    expected = Forecaster(history.waits).forecast(shape, account, now_s)
    return None if isinstance(expected, NoForecast) else QueueStart(now_s + expected.p50_s, "usual wait")
