"""The jobs of a submission that must not stay: those that are not wanted, and those that are withdrawn uncommitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from detour.errors import SchedulerUnavailable
from detour.ledger.events import JobsDropped
from detour.scheduler.commands import LATE_S, Slurm
from detour.scheduler.knowledge import Knowledge
from detour.scheduler.sent_jobs import Places
from detour.scheduler.snapshot import Snapshot

MAX_CANCELS_PER_JOB = 2


@dataclass(slots=True)
class Withdrawer:
    """Cancels jobs of one submission."""

    slurm: Slurm
    knowledge: Knowledge
    wait: Callable[[float], None]
    snapshot: Callable[[], Snapshot]
    remark: Callable[[str], None]
    _cancels: Counter[str] = field(default_factory=Counter)

    def discard(self, ids: Sequence[str]) -> None:
        """Cancel what is not wanted and no longer waited for, last first.

        Raises SchedulerUnavailable if a job has been cancelled `MAX_CANCELS_PER_JOB` times and is still there.
        """
        if stubborn := [job for job in ids if self._cancels[job] >= MAX_CANCELS_PER_JOB]:
            raise SchedulerUnavailable(_still_there(stubborn))
        if ids:
            self.remark(f"cancelled, no longer wanted: {', '.join(ids)}")
            self._cancels.update(ids)
            self._cancel(ids[::-1])

    def withdraw(self, units: Collection[str], filled: Places) -> list[str]:
        """Cancel what was sent for these units and not committed, last first; returns the ids."""
        doomed = [sent for sent in filled if sent.tag.unit in units and not sent.committed]
        ids = [sent.job_id for sent in doomed if sent.job_id][::-1]
        if ids:
            self._cancel(ids)
        known = self.knowledge.sent.items()
        open_tags = [tag for tag, sent in known if tag.unit in units and not (sent.committed or sent.dropped)]
        if open_tags:
            self.knowledge.record(JobsDropped(why="withdrawn", tags=list(map(str, open_tags))))
        return ids

    def check_gone(self, ids: Collection[str]) -> None:
        """Raises SchedulerUnavailable while any of these cancelled jobs is still in the queue."""
        left = set(ids)
        for pause_s in (0.0, LATE_S) if ids else ():
            self.wait(pause_s)
            left = {r.ids.id for r in self.snapshot().queue or () if r.ids.id in ids and not r.is_ending}
            if not left:
                return
        if left:
            raise SchedulerUnavailable(_still_there(sorted(left, key=int)))

    def _cancel(self, ids: Sequence[str]) -> None:
        result = self.slurm.cancel(ids)
        if result.returncode != 0:
            raise SchedulerUnavailable(f"Slurm did not cancel {', '.join(ids)}: {result.message}. Run it again later")


def _still_there(ids: Sequence[str]) -> str:
    return f"Slurm did not cancel {', '.join(ids)}: run it again, or `scancel {' '.join(ids)}`"
