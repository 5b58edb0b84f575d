"""Orders about what is in Slurm already: cancel, hold, release, adopt, for a chain or one stage with its dependents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from detour.budgets.reserve import release_stages
from detour.errors import SchedulerUnavailable, UserError
from detour.ledger.events import ChainCancelled, ChainHeld, ChainReleased, StageCancelled, StageSubmitted
from detour.ledger.journal import command_journal
from detour.ledger.state import StageState
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.selection import chain_stages, chosen_stages, only_here
from detour.orchestration.slurm import control, submitting
from detour.orchestration.waves import continuations
from detour.planning.files import chain_names, read_plan_outline
from detour.scheduler.commands import Slurm
from detour.scheduler.control import Affected

OnWait = Callable[[str], None]
"""Is given who else is submitting to the workspace, while that is waited for."""


@dataclass(frozen=True, slots=True)
class Controlled:
    """What an order reached."""

    done: Literal["cancelled", "held", "released", "adopted"]
    affected: Affected
    labels: Mapping[str, str]
    """Stage id, or the unit of a job that sends a next wave, -> its name."""
    again: str = ""
    """The command that gives the order once more."""
    warnings: tuple[str, ...] = ()
    """What could not be read of the ledger."""

    def require_done(self) -> None:
        """Raises SchedulerUnavailable where the queue shows jobs that are not as ordered: names them and what to do."""
        if not self.affected.left:
            return
        jobs = ", ".join(f"{job} ({state})" for job, state in self.affected.left.items())
        said = f"; Slurm says: {self.affected.said}" if self.affected.said else ""
        raise SchedulerUnavailable(f"not {self.done}, by the queue: {jobs}{said}. Give it again: `{self.again}`")


def cancel(
    workspace: Workspace, chain: str, stage: str | None = None, *, shared: bool = False, on_wait: OnWait
) -> Controlled:
    """Take a chain, or one stage with its dependents, out of Slurm. Finished stages stay; so do other users' jobs and,
    unless `shared`, stages that another chain waits for. No further wave is sent.

    Raises UserError for an unknown chain or stage, SchedulerUnavailable when the queue cannot be read.
    """
    named = chosen_stages(workspace, chain, stage)
    stages = named if stage or shared else only_here(workspace, chain)
    labels = {row.id: row.label for row in named}
    next_waves = continuations(workspace, [chain])
    with submitting(workspace, on_wait), command_journal(workspace) as journal:
        ours = [*next_waves, *(row.id for row in stages)]
        affected = control(workspace, journal, _slurm(workspace, chain)).cancel(
            ours, "cancelled by its user", concerned=labels
        )
        view = LedgerView(workspace)
        known = view.state.stages
        settled = [row.id for row in stages if row.id not in affected.in_queue and not workspace.is_done(row.id)]
        for stage_id in settled:
            for job in sorted(_open_jobs(known[stage_id]) if stage_id in known else ()):
                journal.append(StageCancelled(), stage=stage_id, job=job)
        release_stages(workspace, journal, settled, "cancelled")
        journal.append(ChainCancelled(jobs=list(affected.ids)), chain=chain)
    return Controlled("cancelled", affected, labels | next_waves, f"detour cancel {chain}", view.warnings)


def _open_jobs(stage: StageState) -> set[str]:
    """Those that it was submitted as, or that tried it, and that are not cancelled yet."""
    return (stage.jobs | {attempt.job for attempt in stage.attempts if attempt.job}) - stage.cancelled_jobs


def hold(workspace: Workspace, chain: str, stage: str | None = None, *, on_wait: OnWait) -> Controlled:
    """Keep pending jobs from starting, also when the chain is submitted again meanwhile. Raises as `cancel`."""
    labels = _labels(workspace, chain, stage)
    with submitting(workspace, on_wait), command_journal(workspace) as journal:
        affected = control(workspace, journal, _slurm(workspace, chain)).hold(list(labels))
        journal.append(ChainHeld(jobs=list(affected.ids)), chain=chain)
    return Controlled("held", affected, labels, f"detour hold {chain}", LedgerView(workspace).warnings)


def release(workspace: Workspace, chain: str, stage: str | None = None, *, on_wait: OnWait) -> Controlled:
    """Undo `hold`. Raises as `cancel`."""
    labels = _labels(workspace, chain, stage)
    with submitting(workspace, on_wait), command_journal(workspace) as journal:
        affected = control(workspace, journal, _slurm(workspace, chain)).release(list(labels))
        journal.append(ChainReleased(jobs=list(affected.ids)), chain=chain)
    return Controlled("released", affected, labels, f"detour release {chain}", LedgerView(workspace).warnings)


def adopt(workspace: Workspace, *, on_wait: OnWait) -> Controlled:
    """Record jobs of this workspace that Slurm has and the ledger does not know, found by their tags.

    Raises SchedulerUnavailable when the queue cannot be read, UserError where there is no workspace.
    """
    if not (workspace.root / "chains").is_dir():
        raise UserError(f"{workspace.root}: no workspace of detour; name one with -w or $DETOUR_WORKSPACE")
    labels = {stage.id: stage.label for name in chain_names(workspace) for stage in chain_stages(workspace, name)}
    with submitting(workspace, on_wait), command_journal(workspace) as journal:
        affected = control(workspace, journal, _slurm(workspace, *chain_names(workspace))).adopt(labels)
        for stage_id, job_id in zip(affected.stages, affected.ids, strict=False):
            journal.append(StageSubmitted(), stage=stage_id, job=job_id)
    return Controlled("adopted", affected, labels, warnings=LedgerView(workspace).warnings)


def _labels(workspace: Workspace, chain: str, stage: str | None) -> dict[str, str]:
    return {row.id: row.label for row in chosen_stages(workspace, chain, stage)} | continuations(workspace, [chain])


def _slurm(workspace: Workspace, *chains: str) -> Slurm:
    """Of the cluster that the chains were submitted to; of several, the first one's."""
    targets = (read_plan_outline(workspace, chain).target for chain in chains)
    return Slurm(cluster=next((target.slurm_cluster for target in targets), None))
