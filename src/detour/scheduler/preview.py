"""What a submission would do now, from the ledger and one reading of the queue; nothing is recorded or sent. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from detour.scheduler.matching import counted_for
from detour.scheduler.reconciliation import decide, lone_request
from detour.scheduler.requests import JobRequest, first_wave, in_order, jobs_by_qos, room_left
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.tags import Tag


@dataclass(frozen=True, slots=True)
class Preview:
    send: tuple[JobRequest, ...]
    """Requests of which a job is to be sent, in order."""
    is_gated: bool = False
    """Whether it is a single job, which is not held but waits at its gate."""
    in_flight: tuple[str, ...] = ()
    """Wanted stages that are already in flight."""
    deferred: tuple[JobRequest, ...] = ()
    """What does not fit under a submit limit."""


def preview(
    requests: Sequence[JobRequest],
    sent: Mapping[Tag, Sent],
    snapshot: Snapshot,
    user: str,
    workspace: str,
    is_done: Callable[[str], bool],
    limits: Mapping[str | None, int],
    kept_free: Collection[str | None],
) -> Preview:
    """`sent` are the jobs that may be on the cluster of `snapshot`, whose queue must be known; see `Submitter`."""
    ordered = in_order(requests)
    if lone_request(ordered, sent.values()) is not None:
        return Preview(tuple(ordered), is_gated=True)
    known, snapshot = counted_for(user, sent, snapshot, workspace)
    decision = decide(ordered, known, snapshot, workspace, is_done)
    missing = list({request.unit: request for request, _ in decision.send}.values())
    room = room_left(limits, kept_free, snapshot.jobs_by_qos(user, limits), jobs_by_qos(ordered))
    wave, later = first_wave(missing, room)
    return Preview(tuple(wave), False, decision.in_flight, tuple(later))
