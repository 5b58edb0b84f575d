"""The cost of a result: time, GPU-hours, energy and CO2, in a compact form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from detour.accounting.account import SiteEnergy
from detour.sums import complete_sum


@dataclass(frozen=True, slots=True)
class Spent:
    """Cost of all attempts at one stage, including failed and repeated ones. Unknown is None; bands are left out."""

    allocated_s: float | None = None
    gpu_hours: float | None = None
    facility_energy_kwh: float | None = None
    """Facility energy (PUE x IT energy), by `energy_method`."""
    co2_g: float | None = None
    energy_method: str | None = None
    """Method quoted by the rule of `SiteEnergy`; None over several sites, whose figures are never added."""
    energy_coverage: float | None = None
    """Share of the allocated time that the energy covers."""

    @classmethod
    def of(cls, sites: Sequence[SiteEnergy]) -> Spent:
        if not sites:
            return cls()
        quoted = sites[0].quoted if len(sites) == 1 else None
        energy, co2 = (quoted.facility_energy_kwh, quoted.co2_g) if quoted else (None, None)
        return cls(
            allocated_s=fsum(site.figures[0].allocated_s for site in sites),
            gpu_hours=complete_sum(None if site.gpu_hours.unknown else site.gpu_hours.value for site in sites),
            facility_energy_kwh=None if energy is None else energy.expected,
            co2_g=None if co2 is None else co2.expected,
            energy_method=quoted.method.value if quoted else None,
            energy_coverage=quoted.coverage if quoted else None,
        )
