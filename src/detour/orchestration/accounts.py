"""Records sacct's answers about our own jobs in the ledger, so reports stay correct after the accounts are purged."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from detour.errors import UserError
from detour.grouping import grouped
from detour.ledger.folders import workspace_umask
from detour.ledger.journal import command_journal
from detour.ledger.process import users_here
from detour.ledger.stages import slurm_cluster_of
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.selection import Known, known_chains
from detour.scheduler.accounted import Accounted, accounted, to_ask
from detour.scheduler.commands import Slurm
from detour.scheduler.in_flight import jobs_sent
from detour.scheduler.sent_jobs import Sent

if TYPE_CHECKING:
    from detour.sacct.rows import JobRow

PATIENCE_S = 30.0


def record_accounts(view: LedgerView, slurm: Slurm | None = None) -> tuple[str, ...]:
    """Ask each Slurm cluster's sacct once about ended runs of our jobs that the ledger lacks, and record its answer.

    The view is refreshed. sacct is not called if nothing is missing or if it is not installed. Returns what could not
    be read, as sentences for people: figures then come from the journals.
    """
    if slurm is None and shutil.which("sacct") is None:
        return ()
    workspace, client = view.workspace, slurm or Slurm(timeout_s=PATIENCE_S)
    sent = jobs_sent(view)
    since_s = view.state.sent_since_s
    users, missing = users_here(view.state.users), list[str]()
    found: list[Accounted] = []
    for cluster, jobs in _by_slurm_cluster(workspace, to_ask(view.state, sent.values())).items():
        rows = _rows(client.on(cluster), since_s, users, jobs, missing)
        found += accounted(rows, view.state, sent, jobs, since_s)
    if found:
        try:
            with workspace_umask(workspace.root), command_journal(workspace) as journal:
                for one in found:
                    journal.append(one.event, job=one.job)
        except (OSError, UserError) as error:  # the latter for a reader who may not write to the ledger
            return (*missing, f"what sacct says cannot be recorded ({error}): hours are those of the journals")
        view.refresh()
    return tuple(missing)


def _by_slurm_cluster(workspace: Workspace, jobs: Sequence[Sent]) -> Mapping[str | None, list[Sent]]:
    """The jobs by the Slurm cluster that has them; those of earlier versions, by the profile of their chain."""
    is_needed = any(job.slurm_cluster is None for job in jobs)
    targets = (known_chains(workspace) if is_needed else Known({})).targets()
    return grouped((slurm_cluster_of(job.slurm_cluster, targets.of(*job.stages).slurm_cluster), job) for job in jobs)


def _rows(
    slurm: Slurm, since_s: float, users: Sequence[str], jobs: Iterable[Sent], missing: list[str]
) -> Sequence[JobRow]:
    """sacct's rows about these jobs; none if it gives no usable answer, with the reason in `missing`."""
    name, ids = slurm.named("sacct"), [job.job_id for job in jobs if job.job_id]
    answer = slurm.accounting(since_s, users, ids)
    if answer.returncode != 0:
        missing.append(f"{name} failed ({answer.message}): hours not read before are those of the journals")
        return ()
    from detour.sacct.reading import Dialect, read_rows  # most reports have nothing to ask

    try:
        return list(read_rows(io.StringIO(answer.stdout, "\n"), Dialect(skip_broken=True)))
    except UserError as error:
        missing.append(f"{name} gave no usable answer ({error}): hours are those of the journals")
        return ()
