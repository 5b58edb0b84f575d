"""The convention by which cards compute CO2: reserved GPU-hours x board power x PUE x grid factor."""

from __future__ import annotations

from typing import NamedTuple

from detour.accounting.site import site_of
from detour.config.cluster import Cluster
from detour.config.loading import available_clusters, load_cluster
from detour.errors import UserError


class Convention(NamedTuple):
    power_kw: float
    pue: float
    g_per_kwh: float
    source: str

    @classmethod
    def chosen(
        cls, cluster: Cluster | None, power_kw: float | None, pue: float | None, g_per_kwh: float | None
    ) -> Convention | None:
        """Return a profile's constants, overridden by those given; None if nothing is given.

        Raises UserError if any of the three is then missing.
        """
        site = site_of(cluster) if cluster else None
        if site is not None:
            power_kw = site.gpu_board_w.value / 1000 if power_kw is None and site.gpu_board_w else power_kw
            pue = site.pue.value if pue is None and site.pue else pue
            g_per_kwh = site.grid_g_per_kwh.value if g_per_kwh is None and site.grid_g_per_kwh else g_per_kwh
        match (power_kw, pue, g_per_kwh):
            case (None, None, None):
                return None
            case (float(), float(), float()):
                return cls(
                    power_kw, pue, g_per_kwh, f"constants of {cluster.name}" if cluster else "the constants given"
                )
        raise UserError(
            "power, PUE and grid factor are needed together: give --power, --pue and --factor, or --cluster"
        )

    def grams(self, gpu_hours: float) -> float:
        return gpu_hours * self.power_kw * self.pue * self.g_per_kwh

    def in_words(self, gpu_hours: float) -> str:
        return (
            f"{gpu_hours:g} GPU-h x {self.power_kw:g} kW x PUE {self.pue:g} x {self.g_per_kwh:g} g/kWh = "
            f"{self.grams(gpu_hours):,.2f} g ({self.source})"
        )


def shipped_conventions() -> list[Convention]:
    """Return the constants of all profiles that have them and GPUs; equal ones once, with all their names."""
    names: dict[tuple[float, float, float], list[str]] = {}
    for name in available_clusters():
        cluster = load_cluster(name)
        site = site_of(cluster)
        if cluster.gpu is None or cluster.gpu.simulated:
            continue
        if site.gpu_board_w and site.pue and site.grid_g_per_kwh:
            constants = (site.gpu_board_w.value / 1000, site.pue.value, site.grid_g_per_kwh.value)
            names.setdefault(constants, []).append(name)
    return [Convention(*constants, f"constants of {', '.join(known)}") for constants, known in names.items()]
