"""A failure that no retry cures ends the chain at once: the segments that wait for this one are not needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from detour.jobs.log import LOGGER
from detour.ledger.process import user_name
from detour.scheduler.commands import Slurm
from detour.scheduler.snapshot import identified, take_snapshot
from detour.scheduler.tags import Tag, find_tag


def cancel_later_segments(environment: Mapping[str, str], slurm: Slurm, sent: Callable[[], Iterable[Tag]]) -> list[str]:
    """Cancel the segments after this job's, for an array those of this task; returns their ids.

    `sent` reads all tags in the ledger, which are needed only if the site rewrites the names of jobs. The segments are
    this user's own, since one user sends and commits a unit. If Slurm gives no answer they start, find the failure's
    marker and end in seconds.
    """
    tag, snapshot = find_tag(environment.get("SLURM_JOB_NAME", "")), take_snapshot(slurm, [user_name()])
    if tag is None:
        snapshot, _ = identified(snapshot, sent())
        job = environment.get("SLURM_ARRAY_JOB_ID") or environment.get("SLURM_JOB_ID")
        tag = next((record.tag for record in snapshot.queue or () if record.tag and record.ids.id == job), None)
    if tag is None:
        return []
    later = {
        record.ids.id: None
        for record in snapshot.tagged(tag.workspace)
        if record.tag is not None and record.tag.unit == tag.unit and record.tag.segment > tag.segment
    }
    task = environment.get("SLURM_ARRAY_TASK_ID")
    doomed = [job if task is None else f"{job}_{task}" for job in later]
    if doomed and (result := slurm.cancel(doomed)).returncode != 0:
        LOGGER.error(f"Slurm did not cancel {', '.join(doomed)}: {result.message}")
        return []
    return doomed
