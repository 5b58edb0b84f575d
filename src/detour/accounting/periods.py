"""The PUE and grid factor that applied while energy was drawn: the site's, the month's or the hour's.

Months are in UTC. An hourly factor overrides the month's, which overrides the site's. If the file of hourly factors has
a gap or cannot be read, the month's or the site's factor applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from detour.accounting.hourly import HourlyFactors, read_hourly
from detour.errors import UserError
from detour.site import Site, blended

Drawn = tuple[float, float, float]
"""Start and end, in seconds since the epoch, and an amount of energy drawn evenly in between."""


def over(site: Site, drawn: Iterable[Drawn]) -> Site:
    """Return the site with the mean constants for energy drawn.

    Means are weighted by energy; a site without months and hours is returned unchanged.
    """
    if not site.months and site.hourly is None:
        return site
    hours = _hours(site)
    parts = [part for start_s, end_s, amount in drawn for part in _parts(site, hours, start_s, end_s, amount)]
    return blended(parts) if parts else site._replace(months=(), hourly=None)


def unread_hours(sites: Iterable[Site]) -> list[str]:
    """Return why files of hourly factors cannot be read, as sentences for people."""
    found = []
    for site in dict.fromkeys(sites):
        try:
            if site.hourly is not None:
                read_hourly(Path(site.hourly.path))
        except UserError as error:
            found.append(f"{error}; until then {site.name} has the grid factors of its months or of its year")
    return found


def _parts(
    site: Site, hours: HourlyFactors | None, start_s: float, end_s: float, amount: float
) -> Iterator[tuple[Site, float]]:
    """Yield the site's constants with weights, by month and by hour if there are hourly factors."""
    if end_s <= start_s:
        yield _in_month(site, start_s), amount
        return
    for first_s, last_s in _months(start_s, end_s):
        monthly = _in_month(site, first_s)
        for seconds, factor in hours.between(first_s, last_s) if hours else [(last_s - first_s, None)]:
            exact = site.hourly.factor(factor) if site.hourly and factor is not None else monthly.grid_g_per_kwh
            yield monthly._replace(grid_g_per_kwh=exact), amount * seconds / (end_s - start_s)


def _in_month(site: Site, at_s: float) -> Site:
    name = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m")
    found = next((month for month in site.months if month.month == name), None)
    plain = site._replace(months=(), hourly=None)
    if found is None:
        return plain
    return plain._replace(pue=found.pue or site.pue, grid_g_per_kwh=found.grid_g_per_kwh or site.grid_g_per_kwh)


def _months(start_s: float, end_s: float) -> Iterator[tuple[float, float]]:
    at_s = start_s
    while at_s < end_s:
        now = datetime.fromtimestamp(at_s, UTC)
        following = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC).timestamp()
        yield at_s, min(following, end_s)
        at_s = following


def _hours(site: Site) -> HourlyFactors | None:
    if site.hourly is None:
        return None
    try:
        return read_hourly(Path(site.hourly.path))
    except UserError:  # `unread_hours` says so, and the factor used instead states its source
        return None
