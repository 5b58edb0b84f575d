"""What was submitted to Slurm, according to the ledger only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detour.grouping import grouped
from detour.ledger.events import JobEvent
from detour.ledger.identity import workspace_id
from detour.ledger.view import LedgerView
from detour.scheduler.accounted import to_ask
from detour.scheduler.sent_jobs import Sent, fold
from detour.scheduler.tags import Tag


def jobs_sent(view: LedgerView) -> dict[Tag, Sent]:
    """Every job ever sent for the workspace, by its tag."""
    submitted = [entry.event for entry in view.commands(JobEvent)]
    return fold(submitted, workspace_id(view.workspace.root))


def stages_sent(view: LedgerView) -> set[str]:
    """Ids of the stages whose jobs were committed to Slurm, whatever happened to them since."""
    jobs = jobs_sent(view).values()
    return {stage for job in jobs if job.committed and not job.dropped for stage in job.stages}


def open_jobs(view: LedgerView) -> Mapping[str, Sequence[Sent]]:
    """Stage -> jobs sent for it that may be in a queue: the ledger has neither their end nor that they were dropped."""
    kept = [job for job in jobs_sent(view).values() if not job.dropped]
    still_open = (*to_ask(view.state, kept), *(job for job in kept if not job.committed))
    return grouped((stage, job) for job in still_open for stage in job.stages)
