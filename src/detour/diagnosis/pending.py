"""A pending job: how long it has waited, before and after it became eligible, and which link blocks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from detour.diagnosis.evidence import SlurmRow

_WAITED = re.compile(r"(?<=:)(\d+)(?:_(?:\d+|\*))?")


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a pending job has waited, in seconds; None if Slurm does not report it."""

    until_eligible_s: float | None
    """From its submission until only resources, priority and limits held it: dependencies and holds."""
    until_start_s: float | None
    """From when it was eligible until now."""


@dataclass(frozen=True, slots=True)
class Link:
    """A job in the queue on the way from a pending job to the one that blocks it."""

    job: str
    state: str
    reason: str


def waits(submitted_s: float | None, eligible_s: float | None, now_s: float) -> Waits:
    """The waits until now; a job that was never eligible has only the first one."""
    if submitted_s is None:
        return Waits(None, None)
    if eligible_s is None or eligible_s > now_s:
        return Waits(max(now_s - submitted_s, 0.0), None)
    return Waits(max(eligible_s - submitted_s, 0.0), now_s - eligible_s)


def blocking_links(job: SlurmRow, queue: Sequence[SlurmRow]) -> tuple[Link, ...]:
    """From the job to the one that blocks it, which is last: the first on the way that does not wait for another."""
    links: list[Link] = []
    current: SlurmRow | None = job
    while current is not None and current.id not in {link.job for link in links}:
        links.append(Link(current.id, current.get("State"), current.get("Reason")))
        waited = set(_WAITED.findall(current.get("Dependency")))
        is_waiting = current.get("Reason") in ("Dependency", "(Dependency)")
        current = next((row for row in queue if _job(row.id) in waited), None) if is_waiting and waited else None
    return tuple(links)


def _job(text: str) -> str:
    return text.partition("_")[0].partition("+")[0]
