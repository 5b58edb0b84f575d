"""Jobs of stages that wait for a release, by whom they are held, and what releases them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from detour.diagnosis.evidence import SlurmRow
from detour.grouping import grouped
from detour.ledger.events import ChainHeld, ChainReleased
from detour.ledger.reading import history
from detour.ledger.record import in_time
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from detour.monitoring.reasons import BY_ADMINISTRATOR
from detour.orchestration.evidence import is_row_of
from detour.scheduler.records import BY_SLURM, waits_for_release
from detour.scheduler.states import parse_state


@dataclass(frozen=True, slots=True)
class Held:
    """Stages whose jobs are pending and held in the queue."""

    stages: tuple[str, ...]
    by: str
    """Users, `an administrator` or `Slurm`; empty if unknown."""
    release: str
    """The command that releases them; empty if only the site can."""


def held_stages(
    workspace: Workspace,
    state: State,
    stages: Collection[str],
    needed_by: Mapping[str, Sequence[str]],
    planned: Mapping[str, str | None],
    queues: Mapping[str | None, Sequence[SlurmRow]],
    name: str | None = None,
) -> Held | None:
    """Those of `stages` (ids) that the queue of their Slurm cluster shows as held; None if none is.

    `needed_by` has the chains of each stage, `planned` the cluster of the first one. `name` is what to release, by
    default the chains.
    """
    rows = grouped(
        ((cluster, _number(row.id)), row) for cluster, queue in queues.items() for row in filter(_is_held, queue)
    )
    found = {
        stage: row
        for stage in stages
        if (known := state.stages.get(stage)) is not None
        for job in known.jobs
        for row in rows.get((known.slurm_cluster(job, planned.get(stage)), _number(job)), ())
        if is_row_of(row, job)
    }
    if not found:
        return None
    reasons = {_reason(row) for row in found.values()}
    if BY_ADMINISTRATOR in reasons:
        return Held(tuple(found), "an administrator", "")
    names = (name,) if name is not None else tuple(dict.fromkeys(needed_by[stage][0] for stage in found))
    release = workspace.command("release", *names)
    if reasons & BY_SLURM:
        return Held(tuple(found), "Slurm", release)
    return Held(tuple(found), _holders(workspace, state, {one for stage in found for one in needed_by[stage]}), release)


def _number(job: str) -> str:
    """The job's id without its array tasks."""
    return job.partition("_")[0]


def _reason(row: SlurmRow) -> str:
    return row.get("Reason").strip("()")


def _is_held(row: SlurmRow) -> bool:
    priority = 0 if row.get("Priority") == "0" else None
    return waits_for_release(parse_state(row.get("State")), priority, _reason(row))


def _holders(workspace: Workspace, state: State, chains: Collection[str]) -> str:
    """The users who hold these chains by detour; empty if none does."""
    orders = sorted(history(workspace, (ChainHeld, ChainReleased)), key=in_time)
    last = {entry.chain: entry for entry in orders if entry.chain in chains}
    users = {state.user_of(entry.writer) for entry in last.values() if isinstance(entry.event, ChainHeld)}
    return ", ".join(sorted(filter(None, users)))
