"""Which stages were handed to Slurm for good, by the ledger alone."""

from __future__ import annotations

from detour.ledger.events import JobEvent
from detour.ledger.identity import workspace_id
from detour.ledger.view import LedgerView
from detour.scheduler.sent import fold


def stages_sent(view: LedgerView) -> set[str]:
    """Ids of the stages whose jobs were committed to Slurm, whatever became of them since."""
    submitted = [entry.event for entry in view.commands(JobEvent)]
    jobs = fold(submitted, workspace_id(view.workspace.root)).values()
    return {stage for job in jobs if job.committed and not job.dropped for task in job.tasks for stage in task}
