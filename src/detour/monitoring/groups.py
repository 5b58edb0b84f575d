"""Chains of one sweep or project; stages that they share are counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from detour.grouping import grouped
from detour.monitoring.status import ChainStatus, GroupStatus
from detour.sums import known_sum


def groups(chains: Iterable[ChainStatus], name_of: Callable[[ChainStatus], str | None]) -> tuple[GroupStatus, ...]:
    """One group per name, in the order of their first chains; chains without a name are in none."""
    members = grouped((name, chain) for chain in chains if (name := name_of(chain)) is not None)
    return tuple(_group(name, of_name) for name, of_name in members.items())


def _group(name: str, chains: list[ChainStatus]) -> GroupStatus:
    stages = {stage.id: stage for chain in chains for stage in chain.stages}.values()
    kinds = {(stage.energy_method, stage.energy_site) for stage in stages if stage.facility_energy_kwh is not None}
    of_one_kind = stages if len(kinds) == 1 else ()
    return GroupStatus(
        name=name,
        chains=tuple(chain.name for chain in chains),
        stages=len(stages),
        done=sum(stage.status == "done" for stage in stages),
        gpu_hours=known_sum(stage.gpu_hours for stage in stages),
        unknown_gpus=sum(stage.unknown_gpus for stage in stages),
        facility_energy_kwh=known_sum(stage.facility_energy_kwh for stage in of_one_kind),
        co2_g=known_sum(stage.co2_g for stage in of_one_kind),
    )
