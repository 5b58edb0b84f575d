"""Which of two submissions gives way if both commit the same stages at once, as can happen if a claim fails.

Each commits before it looks, and looks before it releases, so at least one of two sees the other's commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from detour.scheduler.sent_jobs import Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.tags import Tag


def rivals_of(ready: Sequence[Sent], known: Mapping[Tag, Sent], before: Set[Tag]) -> list[Sent]:
    """Committed jobs of the same stages that were not committed when it was decided to commit `ready`."""
    stages = {stage for sent in ready for stage in sent.stages}
    return [
        sent
        for tag, sent in known.items()
        if sent.committed and not sent.dropped and tag not in before and stages.intersection(sent.stages)
    ]


def gives_way(ready: Sequence[Sent], rivals: Sequence[Sent], snapshot: Snapshot, user: str) -> bool | None:
    """Whether jobs that are committed and not released give way to others of the same stages; None: look again."""
    seen = {sent.tag: records for sent in rivals if (records := snapshot.live(sent.tag))}
    if not seen:
        return False
    stages = {stage for sent in rivals if sent.tag in seen for stage in sent.stages}
    shared = stages.intersection(stage for sent in ready for stage in sent.stages)
    ours = {sent.job_id for sent in ready if sent.job_id}
    theirs = [record for record in snapshot.queue or () if record.user not in ("", user)]
    if any(job.partition("_")[0] in ours for record in theirs for job in record.waits_for):
        return False
    if not all(record.is_held for records in seen.values() for record in records):
        return True
    first = min((int(sent.job_id or 0), sent.tag) for sent in (*ready, *rivals) if shared.intersection(sent.stages))
    return True if first[1] in seen else None
