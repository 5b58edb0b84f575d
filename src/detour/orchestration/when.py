"""When to start a plan: its grams hour by hour, beside what the queue says; advisory, it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detour.accounting.hourly import read_hourly
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.orchestration.plans import Planned
from detour.planning.files import chain_names
from detour.planning.stage import Stage
from detour.pricing.plan_price import PlanPrice
from detour.pricing.when import StartTimes, start_times


def when_to_start(
    workspace: Workspace, planned: Planned, left: Sequence[Stage], price: PlanPrice, file: Path | None, now_s: float
) -> StartTimes:
    """With the factors of `file`, or of the profile. Raises UserError where there are none, or nothing to compare."""
    hourly = price.cluster.site.grid_hourly
    if file is None and hourly is None:
        raise UserError(
            "no hourly grid factors: name a CSV of hour,g_per_kwh with --factors, or set site.grid_hourly in the "
            f"profile of {price.cluster.name} (docs/energy.md)"
        )
    factors = read_hourly(file or Path(hourly.path if hourly else ""))
    expected_s = _expected_start_s(workspace, [plan.chain for plan in planned.plans])
    return start_times(left, price.prices, price.cluster, factors, now_s, expected_s)


def _expected_start_s(workspace: Workspace, chains: Sequence[str]) -> float | None:
    """The first that Slurm gives for a pending job of the plan; None where none is pending, or none has one."""
    submitted = sorted(set(chains) & set(chain_names(workspace)))
    if not submitted:
        return None
    rows = [row for chain in monitor(workspace).look(submitted).chains for row in chain.stages]
    return min((row.starts_s for row in rows if row.starts_s is not None), default=None)
