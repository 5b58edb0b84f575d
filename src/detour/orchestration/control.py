"""Orders about jobs that are already in Slurm: cancel, hold, release, adopt.

An order for a chain, a sweep, everything a pattern matches, or stages with their dependents takes the same few calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from detour.budgets.reserve import release_stages
from detour.disk import OUT_OF_ROOM
from detour.errors import SchedulerUnavailable, UserError
from detour.ledger.claims import holder
from detour.ledger.events import ChainCancelled, ChainHeld, ChainReleased, StageCancelled, StageSubmitted
from detour.ledger.journal import Journal, command_journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace, marked
from detour.orchestration.cluster_orders import Instruction, by_slurm_cluster, give, joined
from detour.orchestration.selection import Chosen, chosen, without_needed
from detour.orchestration.slurm import submitting, tasks_sent
from detour.orchestration.waves import continuations, leave_out
from detour.planning.files import StageOutline
from detour.planning.selection import known_chains
from detour.scheduler.control import Affected, Control
from detour.text import counted, listed

NAMED_JOBS = 12
NAMED_CHAINS = 3
OnWait = Callable[[str], None]
"""Receives the name of the other submitter to the workspace when the order has to wait for it."""


@dataclass(frozen=True, slots=True)
class Controlled:
    """The outcome of an order."""

    done: Literal["cancelled", "held", "released", "adopted"]
    affected: Affected
    labels: Mapping[str, str]
    """Stage id, or unit of a job that sends the next wave -> its name."""
    again: str = ""
    """The command that repeats the order."""
    warnings: tuple[str, ...] = ()
    """What could not be read from the ledger."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Unfinished stages left alone because other chains need them, as in `labels`."""
    deferred: tuple[str, ...] = ()
    """Stages without a job: cancelled ones that a later wave would have sent, held ones that are held once sent."""

    def require_done(self) -> None:
        """Raises SchedulerUnavailable, naming the jobs and what to do, if jobs in the queue are not as ordered."""
        if problems := [*self._problems()]:
            raise SchedulerUnavailable("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        affected = self.affected
        if affected.undecided:
            jobs = _jobs_in_words(affected.undecided)
            yield f"not {self.done}: {jobs}. Submit its chain again, which frees it or sends it again: `detour submit`"
        elif affected.left:
            jobs = _jobs_in_words(affected.left)
            said = f"; Slurm says: {affected.said}" if affected.said else ""
            yield f"not {self.done}, by {affected.seen_in}: {jobs}{said}. Run it again: `{self.again}`"
        yield from affected.unreached


def _jobs_in_words(said: Mapping[str, str]) -> str:
    return listed([f"{job} ({words})" for job, words in said.items()], NAMED_JOBS)


def cancel(
    workspace: Workspace, names: Sequence[str], stage: str | None = None, *, shared: bool = False, on_wait: OnWait
) -> Controlled:
    """Remove chains, or stages with their dependents, from Slurm in one order; no further wave sends them.

    Finished stages stay, as do other users' jobs and, unless `shared`, stages that another chain still needs. Raises
    UserError for an unknown name or a single stage that several chains need, SchedulerUnavailable if the queue cannot
    be read.
    """
    choice = chosen(workspace, names, stage)
    view = LedgerView(workspace)
    if not shared:
        choice = without_needed(choice, view.state)
    with _ordering(workspace, on_wait) as journal:
        unfinished = {row.id for row in choice.stages if not marked(workspace.is_done, row.id)}
        waves = leave_out(workspace, choice.chains, unfinished)
        ours = [*waves.ended, *(row.id for row in choice.stages)]
        affected = _ordered(
            view,
            journal,
            choice,
            ours,
            lambda of_cluster, stages: of_cluster.cancel(stages, "cancelled by its user", concerned=choice.labels),
        )
        view.refresh()
        left = [row for row in choice.stages if row.id not in affected.in_queue and not workspace.is_done(row.id)]
        here = {row.id: row.label for row in left if _runs_without_slurm(view, row.id)}
        settled = [row.id for row in left if row.id not in here]
        for stage_id in settled:
            known = view.state.stage(stage_id)
            for job in sorted(known.executors - known.cancelled_jobs):
                journal.append(StageCancelled(), stage=stage_id, job=job)
        release_stages(workspace, journal, settled, "cancelled")
        for chain in choice.affected_chains:
            journal.append(ChainCancelled(jobs=list(affected.ids), whole=bool(choice.chains)), chain=chain)
    again = _again(workspace, "cancel", names, stage, ("--shared",) if shared else ())
    running = [f"not cancelled: {label} runs in `detour run`, which Ctrl-C stops" for label in here.values()]
    warnings = (*view.warnings, *affected.warnings, *running)
    kept = _labels_of(row for row in choice.kept if not marked(workspace.is_done, row.id))
    deferred = tuple(one for one in waves.stages if one in choice.labels and one not in affected.stages)
    return Controlled("cancelled", affected, choice.labels | dict(waves.ended), again, warnings, kept, deferred)


def hold(workspace: Workspace, names: Sequence[str], stage: str | None = None, *, on_wait: OnWait) -> Controlled:
    """Keep pending jobs from starting, also those that are sent for these stages later. Raises as `cancel` does."""
    choice = chosen(workspace, names, stage)
    unfinished = {one: label for one, label in choice.labels.items() if not marked(workspace.is_done, one)}
    with _ordering(workspace, on_wait) as journal:
        view = LedgerView(workspace)
        affected = _ordered(view, journal, choice, unfinished, Control.hold)
        for chain in choice.affected_chains:
            journal.append(ChainHeld(jobs=list(affected.ids)), chain=chain)
    view.refresh()
    warnings = (*view.warnings, *_held_up(choice, affected))
    deferred = tuple(one for one in unfinished if one not in affected.in_queue)
    again = _again(workspace, "hold", names, stage)
    return Controlled("held", affected, choice.labels, again, warnings, deferred=deferred)


def _runs_without_slurm(view: LedgerView, stage: str) -> bool:
    """Whether `detour run` runs the stage now, on this machine or another."""
    last = view.state.stage(stage).last_attempt
    started_here = last is not None and last.ended is None and last.process is not None
    return started_here and holder(view.workspace, stage) is not None


def _held_up(choice: Chosen, affected: Affected) -> Iterator[str]:
    needed_by = choice.known.needed_by()
    others = {chain for stage in affected.stages for chain in needed_by.get(stage, ())} - set(choice.named)
    if others:
        names = listed(sorted(others), NAMED_CHAINS)
        yield f"{counted(len(others), 'other chain')} held up too, sharing these stages: {names}"


def release(workspace: Workspace, names: Sequence[str], stage: str | None = None, *, on_wait: OnWait) -> Controlled:
    """Undo `hold`. Raises as `cancel` does."""
    choice = chosen(workspace, names, stage)
    labels = choice.labels | continuations(workspace, choice.chains)  # held by earlier versions
    with _ordering(workspace, on_wait) as journal:
        view = LedgerView(workspace)
        affected = _ordered(view, journal, choice, labels, Control.release)
        for chain in choice.affected_chains:
            journal.append(ChainReleased(jobs=list(affected.ids)), chain=chain)
    view.refresh()
    return Controlled("released", affected, labels, _again(workspace, "release", names, stage), view.warnings)


def adopt(workspace: Workspace, *, on_wait: OnWait) -> Controlled:
    """Record jobs of this workspace that are in Slurm and not in the ledger, found by their tags.

    Chains whose plan cannot be read are left out, with a warning. Raises SchedulerUnavailable if the queue cannot be
    read, UserError if there is no workspace.
    """
    if not (workspace.root / "chains").is_dir():
        raise UserError(f"{workspace.root}: no workspace of detour; name one with -w or $DETOUR_WORKSPACE")
    chains = known_chains(workspace)
    labels = _labels_of(chains.stages.values())

    with _ordering(workspace, on_wait) as journal:
        view = LedgerView(workspace)
        usual = chains.targets().usual.slurm_cluster
        stages = by_slurm_cluster(view, chains, labels, ()) or {usual: ()}
        outcomes = give(
            workspace, journal, stages, lambda of_cluster, _: of_cluster.adopt(labels, partial(tasks_sent, workspace))
        )
        for cluster, found in outcomes.of.items():
            for stage_id, job_id in zip(found.stages, found.ids, strict=True):
                journal.append(StageSubmitted(slurm_cluster=cluster or ""), stage=stage_id, job=job_id)
        affected = joined(outcomes, stages)
        ids, of_jobs = (tuple(dict.fromkeys(names)) for names in (affected.ids, affected.stages))
        affected = replace(affected, ids=ids, stages=of_jobs)
    view.refresh()
    return Controlled("adopted", affected, labels, warnings=(*view.warnings, *chains.unreadable))


@contextmanager
def _ordering(workspace: Workspace, on_wait: OnWait) -> Iterator[Journal]:
    """Hold the claim to give an order, as `submitting` does, and open a journal for it.

    A full disk does not stop an order: the claim is then empty, or there is none if not even a name fits. A submission
    under way made its claim before and is waited for; what is sent later has tags that the order does not know.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(submitting(workspace, on_wait, without_room=True))
        except OSError as error:
            if error.errno not in OUT_OF_ROOM:
                raise
        yield stack.enter_context(command_journal(workspace))


def _labels_of(stages: Iterable[StageOutline]) -> Mapping[str, str]:
    return {stage.id: stage.label for stage in stages}


def _again(
    workspace: Workspace, verb: str, names: Sequence[str], stage: str | None, options: Sequence[str] = ()
) -> str:
    chosen_stage = () if stage is None else ("--stage", stage)
    return workspace.command(verb, *names, options=(*chosen_stage, *options))


def _ordered(
    view: LedgerView, journal: Journal, choice: Chosen, stages: Iterable[str], instruction: Instruction
) -> Affected:
    """Give an instruction about the stages to each Slurm cluster that may have jobs of them."""
    by_cluster = by_slurm_cluster(view, choice.known, stages, choice.affected_chains)
    return joined(give(view.workspace, journal, by_cluster, instruction), by_cluster)
