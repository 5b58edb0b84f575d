"""An instruction about jobs in Slurm, given to each Slurm cluster that may have such jobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from detour.errors import SchedulerUnavailable
from detour.ledger.journal import Journal
from detour.ledger.stages import slurm_cluster_of
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace, marked
from detour.orchestration.slurm import control
from detour.planning.selection import Known
from detour.scheduler.commands import Slurm
from detour.scheduler.control import Affected, Control
from detour.scheduler.in_flight import open_jobs

Instruction = Callable[[Control, Sequence[str]], Affected]
"""Makes one cluster cancel, hold, release or adopt the jobs of these stages."""


class Outcomes(NamedTuple):
    """The outcome of an instruction at each Slurm cluster."""

    of: Mapping[str | None, Affected]
    unreached: Mapping[str | None, str]
    """Clusters that did not answer, and what follows, in words."""


def by_slurm_cluster(
    view: LedgerView, known: Known, stages: Iterable[str], chains: Collection[str]
) -> Mapping[str | None, Sequence[str]]:
    """The stages by each Slurm cluster that may have jobs of them; those without, where their chain is planned.

    Left out are stages planned for this machine that were never sent: without Slurm there is no queue to ask. `chains`
    decide for stages that other chains need too.
    """
    targets, sent = known.targets(chains), open_jobs(view)
    found: dict[str | None, list[str]] = {}
    for stage in stages:
        target, is_planned = targets.of(stage), stage in targets.by_stage
        recorded = () if marked(view.workspace.is_done, stage) else (job.slurm_cluster for job in sent.get(stage, ()))
        asked = dict.fromkeys(slurm_cluster_of(one, target.slurm_cluster) for one in recorded)
        for cluster in asked or (() if is_planned and target.is_local else (target.slurm_cluster,)):
            found.setdefault(cluster, []).append(stage)
    return found


def give(
    workspace: Workspace, journal: Journal, stages: Mapping[str | None, Sequence[str]], instruction: Instruction
) -> Outcomes:
    """Give the instruction to each cluster, about its stages. Raises SchedulerUnavailable if none answers."""
    reached, unreached = dict[str | None, Affected](), dict[str | None, str]()
    for cluster, of_cluster in stages.items():
        try:
            reached[cluster] = instruction(control(workspace, journal, Slurm(cluster=cluster)), of_cluster)
        except SchedulerUnavailable as error:
            unreached[cluster] = str(error)
    if unreached and not reached:
        raise SchedulerUnavailable("; ".join(unreached.values()))
    return Outcomes(reached, unreached)


def joined(outcomes: Outcomes, stages: Mapping[str | None, Sequence[str]]) -> Affected:
    """The outcome at all clusters together, in which a job is `7 on CLUSTER` if there are several.

    The stages of clusters that did not answer count as in the queue.
    """
    if not (outcomes.of or outcomes.unreached):
        return Affected((), (), seen_in="the ledger")
    if len(outcomes.of) == 1 and not outcomes.unreached:
        return next(iter(outcomes.of.values()))

    def named(jobs: Mapping[str, str], cluster: str | None) -> dict[str, str]:
        return {job if cluster is None else f"{job} on {cluster}": words for job, words in jobs.items()}

    every = outcomes.of.items()
    in_queue = [*(one.in_queue for one in outcomes.of.values()), *(stages[cluster] for cluster in outcomes.unreached)]
    return Affected(
        ids=tuple(job for cluster, one in every for job in named(dict.fromkeys(one.ids, ""), cluster)),
        stages=tuple(dict.fromkeys(stage for _, one in every for stage in one.stages)),
        theirs=tuple(sent for _, one in every for sent in one.theirs),
        left={job: state for cluster, one in every for job, state in named(one.left, cluster).items()},
        said="; ".join(one.said for _, one in every if one.said),
        in_queue=frozenset().union(*in_queue),
        undecided={job: why for cluster, one in every for job, why in named(one.undecided, cluster).items()},
        seen_in=" and ".join(dict.fromkeys(one.seen_in for _, one in every)),
        warnings=tuple(said for _, one in every for said in one.warnings),
        unreached=tuple(outcomes.unreached.values()),
    )
