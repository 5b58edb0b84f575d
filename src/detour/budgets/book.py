"""Everything that counts against budgets in a workspace, from the ledger and the markers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

from detour.accounting.attempts import estimate_of, usage_of
from detour.accounting.energy import EnergyFigure
from detour.accounting.hours import AttemptUsage, gpu_hours
from detour.accounting.site import planned_targets, profile_sites, recorded_profiles
from detour.budgets.arithmetic import Balance, Line, Spending, balance, check, window_s
from detour.budgets.caps import Budget, Measure
from detour.budgets.reservations import Amounts, Evidence, Facts, Reservation, is_held, reservations
from detour.errors import UserError
from detour.grouping import grouped
from detour.ledger.allocations import APART_S
from detour.ledger.claims import holder
from detour.ledger.events import BudgetEvent, Event
from detour.ledger.state import AttemptState
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace, marked
from detour.planning.files import read_stage_outline
from detour.planning.order import upstream
from detour.planning.stage import Stage
from detour.pricing.billing import billed_gpu_hours
from detour.scheduler.in_flight import stages_sent


@dataclass(frozen=True, slots=True)
class Demand:
    """What a submission requests, for its stages that are neither done nor in flight."""

    facts: Facts
    stages: Sequence[Stage]
    amounts: Mapping[str, Amounts]
    """Amounts by stage id, in the plan's order."""
    unpriced: frozenset[str] = frozenset()
    """Stages of unknown duration, which request a default time limit."""


class Book:
    """Reservations, spendings, and the evidence for which of them still count."""

    def __init__(self, view: LedgerView, now_s: float | None = None) -> None:
        self.workspace, self.view = view.workspace, view
        self._dead = self._dead_submitters()
        if self._dead:  # they may have committed between the last look at the ledger and their end
            view.refresh()
        self.now_s = time.time() if now_s is None else now_s
        self.reservations = reservations(self.view.commands(BudgetEvent))
        tried = (stage.id for stage in self.view.state.stages.values() if stage.failed)
        self._failed = {stage for stage in tried if marked(self.workspace.has_failed, stage)}
        self._is_done = cache(partial(marked, self.workspace.is_done))
        self._inputs_of = cache(partial(_inputs, self.workspace))
        self.evidence = self._evidence()

    @cached_property
    def spendings(self) -> Sequence[Spending]:
        """Only computed for budgets that apply: one for each attempt in the workspace."""
        return list(self._spendings())

    def balance(self, budget: Budget) -> Balance | None:
        """Return the budget's balance, None outside its period."""
        bounds = window_s(budget, self.now_s)
        return bounds and balance(budget, self.reservations, self.spendings, self.evidence, bounds)

    def check(self, budgets: Iterable[Budget], demand: Demand) -> list[Line]:
        """Return the arithmetic of every cap that currently applies to the submission."""
        matching = [budget for budget in budgets if budget.scope.matches(demand.facts)]
        present = [self.balance(budget) for budget in matching]
        return [line for one in present if one is not None for line in check(one, demand.amounts)]

    def without_in_flight(self, demand: Demand) -> Demand:
        """Leave out stages that other submissions have reserved and handed over, which this one shares."""
        joined = {
            stage
            for made in self.reservations
            for stage in made.amounts.keys() & self.evidence.in_flight
            if is_held(made, stage, self.evidence)
        }
        left = [stage for stage in demand.stages if stage.id not in joined]
        return Demand(
            demand.facts, left, {stage.id: demand.amounts[stage.id] for stage in left}, demand.unpriced - joined
        )

    def _dead_submitters(self) -> frozenset[str]:
        """Writers of uncommitted reservations whose process has ended, on this machine."""
        writers = {made.writer for made in reservations(self.view.commands(BudgetEvent)) if not made.committed}
        return frozenset(writer for writer in writers if self._process_is_alive(writer) is False)

    def _process_is_alive(self, writer: str) -> bool | None:
        known = self.view.state.writers.get(writer)
        return known.process.is_alive() if known and known.process else None

    def _evidence(self) -> Evidence:
        waiting = {
            stage for made in self.reservations if not made.committed for stage in made.amounts.keys() - made.released
        }
        running = {stage for stage in waiting if holder(self.workspace, stage) is not None}
        writers = self.view.state.writers

        def is_alive(writer: str) -> bool | None:
            known = writers.get(writer)
            if writer in self._dead or (known is not None and known.closed):
                return False
            return None if self._process_is_alive(writer) is None else True

        in_flight = running | stages_sent(self.view)
        wrote_s = {entry.writer: entry.wall_s for entry in self.view.commands(Event)}
        reserved_for: dict[str, set[str]] = {}
        for made in self.reservations:
            reserved_for.setdefault(made.writer, set()).update(made.amounts)

        @cache
        def last_seen_s(writer: str) -> float:
            stages = self.view.state.stages
            tried = (stages[stage] for stage in reserved_for[writer] if stage in stages)
            signs_s = (attempt.last_seen_s or 0.0 for stage in tried for attempt in stage.attempts)
            return max(wrote_s.get(writer, 0.0), max(signs_s, default=0.0))

        return Evidence(self.now_s, self._is_finished, in_flight, is_alive, last_seen_s)

    def _spendings(self) -> Iterator[Spending]:
        """Yield the spending of every attempt, with the facts of the reservation that it ran under."""
        made_for = grouped((stage, made) for made in self.reservations for stage in made.amounts)
        amounts_of = _AttemptAmounts(self.workspace)
        for stage_id, known in self.view.state.stages.items():
            for attempt in known.runs:
                usage = usage_of(stage_id, attempt, self.now_s)
                if usage is None:
                    continue
                facts = _facts_at(usage.start_s, made_for.get(stage_id, ())) or self._facts(attempt)
                yield amounts_of.spending(stage_id, facts, usage, attempt.cluster)

    def _facts(self, attempt: AttemptState) -> Facts:
        """Return the facts of an attempt without a reservation."""
        user = self.view.state.user_of(attempt.started.writer) if attempt.started else None
        return {"cluster": attempt.cluster, "user": user}

    def _is_finished(self, stage: str, since_s: float) -> bool:
        known = self.view.state.stages.get(stage)
        if known is not None and (known.ended_s or 0.0) >= since_s:
            return True
        return self._is_done(stage) or self._is_doomed(stage)

    def _is_doomed(self, stage: str) -> bool:
        """Whether the stage failed permanently, or depends on one that did."""
        return bool(self._failed) and not self._failed.isdisjoint(upstream([stage], self._inputs_of))


def _facts_at(start_s: float, made: Sequence[Reservation]) -> Facts | None:
    """Return the facts of the last reservation before a start, or the first if it may only seem to be later: Slurm's
    starts are whole seconds, by another clock."""
    before = [one for one in made if one.at_s <= start_s]
    return before[-1].facts if before else next((one.facts for one in made if one.at_s - start_s <= APART_S), None)


class _AttemptAmounts:
    """Computes the amounts that attempts used, with the constants of their cluster profiles.

    Energy is estimated (M2), as for reservations: a budget adds both, and different methods are never added.
    """

    def __init__(self, workspace: Workspace) -> None:
        targets = planned_targets(workspace)
        self._profile_of, self._site_of = recorded_profiles(targets), profile_sites(targets)

    def spending(self, stage: str, facts: Facts, usage: AttemptUsage, cluster: str | None) -> Spending:
        amounts, site = self._of(usage, cluster), self._site_of(cluster)
        is_even = not site.months and site.hourly is None

        def amounts_in(start_s: float, end_s: float) -> Amounts:
            return self._of(usage._replace(start_s=start_s, end_s=end_s), cluster)

        return Spending(stage, facts, usage.start_s, usage.end_s, amounts, None if is_even else amounts_in)

    def _of(self, usage: AttemptUsage, cluster: str | None) -> Amounts:
        profile = self._profile_of(cluster)
        return {
            "gpu_hours": gpu_hours(usage),
            "billed_hours": None if profile is None else billed_gpu_hours(profile, usage),
            **energy_amounts(estimate_of(usage, self._site_of(cluster))),
        }


def energy_amounts(figure: EnergyFigure | None) -> dict[Measure, float | None]:
    energy, co2 = (figure.facility_energy_kwh, figure.co2_g) if figure else (None, None)
    return {
        "energy_kwh": None if energy is None else energy.expected,
        "co2_kg": None if co2 is None else co2.expected / 1000,
    }


def _inputs(workspace: Workspace, stage: str) -> list[str]:
    """Return the inputs of a stage as planned; empty if they cannot be read."""
    try:
        return list(read_stage_outline(workspace, stage).inputs.values())
    except UserError:
        return []
