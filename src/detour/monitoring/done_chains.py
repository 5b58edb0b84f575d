"""The statuses of chains that are done, cached between commands on this node.

In a large workspace most chains are done and no longer change, and recomputing their rows would take most of the time
of `detour status`. Only a cache (see `detour.ledger.private`): a chain is read from it only while its plan, the
constants of all sites, the events and prices of its stages, their output markers and the code are unchanged. Its lines
are what all of them depend on, then one chain each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from detour.ledger.cache import made_of, private_path
from detour.ledger.private import keep_private, read_private, stamp_of
from detour.ledger.state import State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.chains import as_of
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.status import ChainStatus, StageRow
from detour.planning.outlines import Outlines
from detour.site import Site

WORTH_KEEPING = 4
"""Number of new chains from which caching is worthwhile."""


class DoneChains:
    """Cached chains, without segments, as shown with one line per stage."""

    def __init__(self, workspace: Workspace, view: LedgerView, outlines: Outlines, sites: Mapping[str, Site]) -> None:
        """`view` must be just opened: what it has touched came after the cached state."""
        self._workspace, self._view, self._outlines = workspace, view, outlines
        self._constants = {name: [site.to_json(), _factors(site)] for name, site in sites.items()}
        self._touched = frozenset(view.touched)
        self._is_metered_anew = any(_is_metered(view.state, stage) for stage in self._touched)
        self._kept = self._restored()
        self._taken = 0

    def chain(self, name: str, needed_by: Mapping[str, Sequence[str]]) -> ChainStatus | None:
        """The status as it would be computed again; None if it has to be."""
        if name not in self._kept:
            return None
        stamp, is_metered, status = self._kept[name]
        state, rows = self._view.state, status.stages
        is_same = (
            self._outlines.stamp(name) == stamp
            and not (is_metered and self._is_metered_anew)
            and self._touched.isdisjoint(row.id for row in rows)
            and all(row.expected_s == state.priced_s(row.id) for row in rows)
            and all(row.chains == tuple(needed_by[row.id]) for row in rows)
            and self._are_there(rows)
        )
        self._taken += is_same
        return as_of(status, state) if is_same else None

    def keep(self, chains: Iterable[ChainStatus]) -> None:
        """Cache those of all the workspace's `chains` that are done for good. Does nothing without a cached state."""
        done = [chain for chain in chains if chain.is_done and self._has_ended(chain)]
        if self._view.stamp is None or len(done) - self._taken < WORTH_KEEPING:
            return
        state = self._view.state
        lines = [
            (stamp, any(_is_metered(state, row.id) for row in chain.stages), chain)
            for chain in done
            if (stamp := self._outlines.stamp(chain.name)) is not None
        ]
        with suppress(OSError, TypeError):
            content = b"\n".join(orjson.dumps(line, default=tuple) for line in (self._made_of(), *lines))
            keep_private(private_path(self._workspace, "chains"), content)

    def _restored(self) -> dict[str, tuple[Any, bool, ChainStatus]]:
        """The cached chains; empty at the slightest doubt."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            head, *lines = read_private(private_path(self._workspace, "chains")).split(b"\n")
            if self._view.stamp is None or orjson.loads(head) != self._made_of():
                return {}
            kept = [(_tuple(stamp), metered, _chain(*parts)) for stamp, metered, parts in map(orjson.loads, lines)]
            return {status.name: (stamp, metered, status) for stamp, metered, status in kept}
        return {}

    def _made_of(self) -> list[Any]:
        return [*made_of(self._workspace, self._view.stamp), self._constants]

    def _are_there(self, rows: Iterable[StageRow]) -> bool:
        try:
            return all(self._workspace.is_done(row.id) for row in rows)
        except OSError:
            return False

    def _has_ended(self, chain: ChainStatus) -> bool:
        """Whether none of its attempts may still be running, which would change its figures."""
        state = self._view.state
        return all(run.ended for row in chain.stages for run in state.stage(row.id).attempts)


def _factors(site: Site) -> list[int] | float | None:
    """The stamp of the site's file of hourly factors; something that equals nothing if it may be changing."""
    if site.hourly is None:
        return None
    with suppress(OSError):
        if (stamp := stamp_of(Path(site.hourly.path).stat())) is not None:
            return list(stamp)
    return time.time()


def _is_metered(state: State, stage_id: str) -> bool:
    """Whether its energy was measured, and so depends on other readings of the same GPUs."""
    return any(attempt.readings for attempt in state.stage(stage_id).attempts)


def _chain(*parts: Any) -> ChainStatus:
    status = ChainStatus._make(map(_tuple, parts))
    quoted = status.quoted
    return status._replace(
        stages=tuple(StageRow._make(map(_tuple, row)) for row in status.stages),
        energy=tuple(EnergyTotal(*total) for total in status.energy),
        quoted=quoted and EnergyTotal(*quoted),
    )


def _tuple(value: Any) -> Any:
    """Tuples from JSON's lists."""
    return tuple(value) if type(value) is list else value
