"""Which stages were handed to Slurm for good, by the ledger alone."""

from __future__ import annotations

from detour.ledger.identity import workspace_id
from detour.ledger.view import LedgerView
from detour.scheduler import sent as events
from detour.scheduler.sent import fold

SUBMIT_EVENTS = (events.INTENT, events.ACCEPTED, events.RELINKED, events.COMMITTED, events.DROPPED)


def stages_sent(view: LedgerView) -> set[str]:
    """Ids of the stages whose jobs were committed to Slurm, whatever became of them since."""
    submitted = [(record["kind"], record["data"]) for record in view.records(SUBMIT_EVENTS)]
    jobs = fold(submitted, workspace_id(view.workspace.root)).values()
    return {stage for job in jobs if job.committed and not job.dropped for task in job.tasks for stage in task}
