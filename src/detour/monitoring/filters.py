"""Which chains of a status are wanted. Pure."""

from __future__ import annotations

from typing import NamedTuple

from detour.monitoring.groups import groups
from detour.monitoring.status import ChainStatus, Status

STUCK = "stuck"
"""Used in place of a state: any stage that needs a person to continue."""


class Wanted(NamedTuple):
    """Conditions on a chain, all of which must hold."""

    states: frozenset[str] = frozenset()
    """At least one stage is in one of these."""
    sweep: str | None = None
    user: str | None = None
    age_s: float | None = None
    """Longest time since the chain's last sign of activity."""

    def holds(self, chain: ChainStatus, now_s: float) -> bool:
        in_state = not self.states or any(
            row.state in self.states or (row.needs_person and STUCK in self.states) for row in chain.stages
        )
        in_time = self.age_s is None or (chain.active_s is not None and now_s - chain.active_s <= self.age_s)
        return (
            in_state
            and in_time
            and (self.sweep is None or chain.sweep == self.sweep)
            and (self.user is None or chain.user == self.user)
        )


def filtered(status: Status, wanted: Wanted) -> Status:
    """The status with only the chains that are wanted."""
    if wanted == Wanted():
        return status
    chains = tuple(chain for chain in status.chains if wanted.holds(chain, status.now_s))
    return status._replace(
        chains=chains,
        sweeps=groups(chains, lambda chain: chain.sweep),
        projects=groups(chains, lambda chain: chain.project),
    )
