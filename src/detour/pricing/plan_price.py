"""The price of a set of stages on one cluster: each stage's price, sums by part, and the critical path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from detour.accounting.energy import Band
from detour.config.cluster import Cluster
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from detour.pricing.history import LedgerHistory, latest_alike
from detour.pricing.price import History, Price, prices_of
from detour.pricing.totals import Total, critical_path_s, total, totals_by_part


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """The price of some stages, each counted once."""

    cluster: Cluster = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)
    prices: Mapping[str, Price] = field(repr=False)
    """Prices by stage id."""
    parts: Mapping[str, Total]
    whole: Total
    critical_path_s: Band


def price_in(
    workspace: Workspace, state: State, stages: Collection[Stage], cluster: Cluster, gpus: int | None = None
) -> PlanPrice:
    """Like `price_plan`, using the durations of the workspace's finished stages; `state` is its folded ledger."""
    alike = latest_alike(workspace, state, stages, cluster.name)
    return price_plan(stages, cluster, LedgerHistory(alike, cluster.name, state.speeds), gpus)


def price_plan(stages: Collection[Stage], cluster: Cluster, history: History, gpus: int | None = None) -> PlanPrice:
    """Price `stages`, given in the plan's order; `gpus` is the number that a training requests."""
    prices = prices_of(stages, cluster, history, gpus)
    return PlanPrice(
        cluster=cluster,
        stages=tuple(stages),
        prices=prices,
        parts=totals_by_part(stages, prices, cluster),
        whole=total(stages, prices, cluster),
        critical_path_s=critical_path_s(stages, prices),
    )
