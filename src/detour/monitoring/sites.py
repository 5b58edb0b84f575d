"""The constants of the place where an attempt ran: as it recorded them, else as the caller knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from detour.accounting.energy import Site, Sourced

SiteOf = Callable[[str | None], Site]
"""Name of a cluster profile (None: nobody recorded one) -> its constants."""
_FIGURES = ("pue", "grid_g_per_kwh", "gpu_board_w", "core_w", "ram_w_per_gb")


def no_site(name: str | None) -> Site:
    """A place of which nothing is known."""
    return Site(name or "a place that nobody recorded")


def recorded_site(data: Mapping[str, Any]) -> Site | None:
    """The `site` that an event or a plan holds (a Site as JSON); None when it holds none."""
    site = data.get("site")
    if not isinstance(site, dict) or not isinstance(site.get("name"), str):
        return None
    return Site(site["name"], **{name: _sourced(site.get(name)) for name in _FIGURES})


def _sourced(value: object) -> Sourced | None:
    if not isinstance(value, dict) or type(value.get("value")) not in (int, float):
        return None
    year = value.get("year")
    return Sourced(float(value["value"]), str(value.get("source", "")), year if isinstance(year, int) else None)
