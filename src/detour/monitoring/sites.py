"""The constants of the place where an attempt ran, for chains whose plan does not hold them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from detour.site import Site

SiteOf = Callable[[str | None], Site]
"""Name of a cluster profile (None if not recorded) -> its constants."""


@cache
def no_site(name: str | None) -> Site:
    """A place about which nothing is known."""
    return Site(name or "an unknown cluster")
