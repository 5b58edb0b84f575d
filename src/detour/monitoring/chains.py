"""A chain's status from the rows of its stages: what they used and when it will end. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from detour.accounting.energy import EnergyFigure, Method
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from detour.monitoring.costs import chosen, quoted, sums_of, totals
from detour.monitoring.eta import outlook
from detour.monitoring.rows import with_causes, with_energy
from detour.monitoring.segments import AttemptKey
from detour.monitoring.states import AGAIN
from detour.monitoring.status import ChainStatus, StageRow
from detour.planning.files import ChainOutline
from detour.sums import known_sum


class Costed(NamedTuple):
    row: StageRow
    figures: Mapping[AttemptKey, list[EnergyFigure]]

    @property
    def all_figures(self) -> list[EnergyFigure]:
        return [figure for of_attempt in self.figures.values() for figure in of_attempt]


def chain_status(
    workspace: Workspace, planned: ChainOutline, rows: Sequence[Costed], state: State, now_s: float
) -> ChainStatus:
    """The status of a chain, with one energy method for all its stages, so they can be compared and added up."""
    name, target = planned.chain, planned.target
    figures = [figure for row in rows for figure in row.all_figures]
    sums = sums_of(figures)
    methods = chosen(sums)
    stages = with_causes([_of_chain(_with_energy(row, methods), workspace, planned) for row in rows])
    ahead = outlook(stages, now_s)
    status = ChainStatus(
        name=name,
        sweep=target.sweep,
        project=target.project,
        cluster=target.cluster,
        user=None,
        stages=tuple(stages),
        submitted_s=None,
        active_s=None,
        ends_s=ahead.ends_s,
        unknown_durations=ahead.unknown,
        critical_path=ahead.path,
        elapsed_s=known_sum(row.elapsed_s for row in stages),
        gpu_hours=known_sum(row.gpu_hours for row in stages),
        unknown_gpus=sum(row.unknown_gpus for row in stages),
        by_journal=sum(row.by_journal for row in stages),
        energy=tuple(totals(sums)),
        quoted=quoted(figures, methods),
    )
    return as_of(status, state)


def as_of(status: ChainStatus, state: State) -> ChainStatus:
    """The chain with what the ledger shows about it as a whole, not about its stages."""
    signs = [state.wanted_s.get(status.name), *(row.seen_s for row in status.stages)]
    return status._replace(
        user=state.user_of(state.wanted_by.get(status.name)),
        submitted_s=state.submitted_s.get(status.name),
        active_s=max((sign for sign in signs if sign), default=None),
    )


def _with_energy(row: Costed, methods: Mapping[str, Method]) -> StageRow:
    if not row.figures:
        return row.row
    of_attempts = {key: quoted(figures, methods) for key, figures in row.figures.items()}
    (first, *others) = of_attempts.values()
    return with_energy(row.row, quoted(row.all_figures, methods) if others else first, of_attempts)


def _of_chain(row: StageRow, workspace: Workspace, planned: ChainOutline) -> StageRow:
    if row.next_step is None:
        return row
    again = "`detour run` with the same recipe runs it again" if planned.target.is_local else AGAIN
    step = row.next_step.replace(AGAIN, again)
    return row._replace(next_step=step.format_map(Commands(workspace, planned.chain)))


class Commands(dict[str, str]):
    """The command of each verb about one chain."""

    def __init__(self, workspace: Workspace, chain: str) -> None:
        super().__init__()
        self._workspace, self._chain = workspace, chain

    def __missing__(self, verb: str) -> str:
        return self._workspace.command(verb, self._chain)
