"""Nodes that new jobs avoid: those at fault for a failed attempt, according to the diagnoses in the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from detour.config.cluster import Cluster
from detour.diagnosis.rules import causes
from detour.ledger.state import State
from detour.scheduler.requests import JobRequest

AVOIDED_S = 3 * 86_400.0
"""Seconds after the failure for which a node is avoided: sites repair or drain a node in a day or two."""
MOST = 8
"""Upper bound on avoided nodes, newest failures first, so that one bad day does not exclude half of a cluster.

If the profile says how many nodes there are, at most half of them, and none that a job needs to have enough: Slurm
would refuse the job.
"""
EXCLUDE = "--exclude="
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class BadNode:
    name: str
    cause: str
    """An id in docs/why.md."""
    at_s: float
    """When the failure was diagnosed, in seconds since the epoch."""

    @property
    def why(self) -> str:
        """The title of the cause, as `broken GPU`, or its id if this version does not know it."""
        cause = causes().get(self.cause)
        return cause.title if cause else self.cause


def bad_nodes(state: State, cluster: Cluster, now_s: float, needed: int = 1) -> tuple[BadNode, ...]:
    """The nodes of this cluster to avoid by jobs that need up to so many, newest failure first."""
    found: dict[str, BadNode] = {}
    for stage in state.stages.values():
        for attempt in stage.attempts:
            entry = attempt.diagnosed
            if entry is None or now_s - entry.wall_s > AVOIDED_S:
                continue
            where = attempt.started.event.cluster if attempt.started else None
            for node in entry.event.nodes or ():
                is_newer = node not in found or entry.wall_s > found[node].at_s
                if _NODE.fullmatch(node) and where == cluster.name and is_newer:
                    found[node] = BadNode(node, entry.event.cause, entry.wall_s)
    most = MOST if cluster.nodes is None else min(MOST, cluster.nodes // 2, max(0, cluster.nodes - needed))
    return tuple(sorted(found.values(), key=lambda one: one.at_s, reverse=True)[:most])


def avoiding(requests: Iterable[JobRequest], nodes: Sequence[str]) -> list[JobRequest]:
    """The requests, with these nodes excluded in addition to those that the profile excludes."""
    if not nodes:
        return list(requests)
    return [
        replace(one, resources=replace(one.resources, options=_with_excluded(one.resources.options, nodes)))
        for one in requests
    ]


def _with_excluded(options: Sequence[str], nodes: Sequence[str]) -> tuple[str, ...]:
    """One `--exclude` for all: of several, sbatch heeds the last."""
    excluded = [option.removeprefix(EXCLUDE) for option in options if option.startswith(EXCLUDE)][-1:]
    kept = (option for option in options if not option.startswith(EXCLUDE))
    return (*kept, EXCLUDE + ",".join([*excluded, *nodes]))
