"""Records sacct's answers about our own jobs in the ledger, so reports stay correct after the accounts are purged."""

from __future__ import annotations

import io
import shutil

from detour.errors import UserError
from detour.ledger.events import JobEvent
from detour.ledger.folders import workspace_umask
from detour.ledger.identity import workspace_id
from detour.ledger.journal import command_journal
from detour.ledger.process import users_here
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.files import first_slurm_cluster
from detour.planning.selection import known_chains
from detour.scheduler.accounted import accounted, to_ask
from detour.scheduler.commands import Slurm
from detour.scheduler.sent_jobs import fold

LATE_S = 3600.0
"""Upper bound on the difference between the clocks of the login node and of the accounts, in seconds."""
PATIENCE_S = 30.0


def record_accounts(view: LedgerView, slurm: Slurm | None = None) -> tuple[str, ...]:
    """Ask sacct once about ended runs of our jobs that the ledger lacks, and record its answer.

    The view is refreshed. sacct is not called if nothing is missing or if it is not installed. Returns what could not
    be read, as sentences for people: figures then come from the journals.
    """
    if slurm is None and shutil.which("sacct") is None:
        return ()
    workspace = view.workspace
    ours = workspace_id(workspace.root)
    sent = fold((entry.event for entry in view.commands(JobEvent)), ours)
    asked = to_ask(view.state, sent.values())
    if not asked:
        return ()
    since_s = min(view.state.submitted_s.values(), default=0.0) - LATE_S
    answer = (slurm or _clients(workspace)).accounting(since_s, users_here(view.state.users), asked)
    if answer.returncode != 0:
        return (f"sacct failed ({answer.message}): hours not read before are those of the journals",)
    from detour.sacct.reading import Dialect, read_rows  # most reports have nothing to ask

    try:
        rows = list(read_rows(io.StringIO(answer.stdout, "\n"), Dialect(skip_broken=True)))
    except UserError as error:
        return (f"sacct gave no usable answer ({error}): hours are those of the journals",)
    found = list(accounted(rows, view.state, sent, since_s))
    if found:
        try:
            with workspace_umask(workspace.root), command_journal(workspace) as journal:
                for one in found:
                    journal.append(one.event, job=one.job)
        except OSError as error:
            return (f"what sacct says cannot be recorded ({error}): hours are those of the journals",)
        view.refresh()
    return ()


def _clients(workspace: Workspace) -> Slurm:
    targets = (plan.target for plan in known_chains(workspace).chains.values())
    return Slurm(timeout_s=PATIENCE_S, cluster=first_slurm_cluster(targets))
