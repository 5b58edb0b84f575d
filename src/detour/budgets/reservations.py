"""Reservations of submissions, folded from their events; nothing is ever deleted. Pure.

What a reservation still holds is derived: a stage that is done, failed or released holds nothing, nor does any stage of
a submission whose submitter died before it handed anything over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from detour.budgets.caps import MEASURES, Measure
from detour.grouping import grouped
from detour.ledger.events import BudgetCommitted, BudgetEvent, BudgetReleased, BudgetReserved, ReservedStages
from detour.ledger.record import Entry

EXPIRES_S = 900.0
"""Time without a sign of life after which a submitter on another machine counts as dead."""

Amounts = Mapping[Measure, float | None]
"""Amounts of a stage by measure; unknown ones are None or missing."""
Facts = Mapping[str, str | None]
"""What a budget's scope is matched against: project, account, cluster, sweep, chain, user."""


@dataclass(slots=True)
class Reservation:
    """What one submission has reserved."""

    submission: str
    facts: Facts
    at_s: float
    writer: str
    """Writer id of the submitter's journal."""
    amounts: dict[str, Amounts]
    """Amounts by stage id."""
    over: tuple[str, ...] = ()
    """Budgets whose hard cap it knowingly exceeds."""
    why: str | None = None
    committed: bool = False
    released: set[str] = field(default_factory=set)
    """Stages that no longer hold anything."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about stages and submitters apart from the reservations."""

    now_s: float
    is_finished: Callable[[str, float], bool] = lambda stage, since_s: False  # noqa: ARG005
    """Whether a stage, reserved at the given time, is done, failed permanently or depends on one that failed."""
    in_flight: AbstractSet[str] = frozenset()
    """Stages that Slurm has accepted, or that are running."""
    is_alive: Callable[[str], bool | None] = lambda writer: None  # noqa: ARG005
    """Whether the process behind a journal is alive; None if this cannot be determined from here."""
    last_seen_s: Callable[[str], float | None] = lambda writer: None  # noqa: ARG005
    """When the process behind a journal, or an attempt at a stage that it reserved for, last showed a sign of life."""


def reserved_stages(amounts: Mapping[str, Amounts]) -> list[ReservedStages]:
    """Group stages of equal amounts, for `BudgetReserved`."""
    groups = grouped((tuple(sorted(of_stage.items())), stage) for stage, of_stage in amounts.items())
    return [{"ids": ids, "amounts": dict(same)} for same, ids in groups.items()]


def reservations(entries: Iterable[Entry[BudgetEvent]]) -> list[Reservation]:
    """Return every reservation ever made, independent of the order of the entries."""
    made: dict[str, Reservation] = {}
    committed: set[str] = set()
    released: dict[str, list[Collection[str] | None]] = {}
    for entry in entries:
        event = entry.event
        match event:
            case BudgetReserved(submission=submission):
                if submission not in made or entry.wall_s < made[submission].at_s:
                    made[submission] = _reservation(event, entry)
            case BudgetCommitted(submission=submission):
                committed.add(submission)
            case BudgetReleased(submission=submission, stages=stages):
                released.setdefault(submission, []).append(stages)
    for submission, reservation in made.items():
        reservation.committed = submission in committed
        for freed in released.get(submission, ()):
            reservation.released |= set(reservation.amounts if freed is None else freed)
    return sorted(made.values(), key=lambda reservation: (reservation.at_s, reservation.submission))


def is_held(reservation: Reservation, stage: str, evidence: Evidence) -> bool:
    """Whether the stage's amount still counts."""
    if stage in reservation.released or evidence.is_finished(stage, reservation.at_s):
        return False
    if reservation.committed or stage in evidence.in_flight:
        return True
    alive = evidence.is_alive(reservation.writer)
    if alive is not None:
        return alive
    seen_s = max(reservation.at_s, evidence.last_seen_s(reservation.writer) or 0.0)
    return evidence.now_s - seen_s < EXPIRES_S


def _reservation(event: BudgetReserved, entry: Entry[BudgetEvent]) -> Reservation:
    amounts: dict[str, Amounts] = {}
    for share in event.stages:
        same: Amounts = {measure: _number(share["amounts"].get(measure)) for measure in MEASURES}
        amounts |= dict.fromkeys(share["ids"], same)
    return Reservation(
        submission=event.submission,
        facts=event.facts,
        at_s=entry.wall_s,
        writer=entry.writer,
        amounts=amounts,
        over=tuple(event.over),
        why=event.why,
    )


def _number(amount: float | None) -> float | None:
    """Return an amount; an invalid one is unknown."""
    return float(amount) if amount is not None and amount >= 0 else None
