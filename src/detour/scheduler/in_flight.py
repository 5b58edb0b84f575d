"""What was submitted to Slurm, according to the ledger only."""

from __future__ import annotations

from detour.ledger.events import JobEvent
from detour.ledger.identity import workspace_id
from detour.ledger.view import LedgerView
from detour.scheduler.sent_jobs import Sent, fold
from detour.scheduler.tags import Tag


def jobs_sent(view: LedgerView) -> dict[Tag, Sent]:
    """Every job ever sent for the workspace, by its tag."""
    submitted = [entry.event for entry in view.commands(JobEvent)]
    return fold(submitted, workspace_id(view.workspace.root))


def stages_sent(view: LedgerView) -> set[str]:
    """Ids of the stages whose jobs were committed to Slurm, whatever happened to them since."""
    jobs = jobs_sent(view).values()
    return {stage for job in jobs if job.committed and not job.dropped for task in job.tasks for stage in task}
