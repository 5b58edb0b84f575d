"""What submissions have reserved, folded from their events; nothing is ever deleted. Pure.

What a reservation still holds is derived: a stage that is done, failed or released holds nothing, nor does any stage of
a submission whose submitter died before it handed anything over.

budget.reserved   {submission, facts, stages: [{ids, amounts}], over, why}
budget.committed  {submission}                what was reserved is handed over: it holds without its submitter
budget.released   {submission, stages, why}   stages is null for all of them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from detour.budgets.caps import MEASURES, Measure

RESERVED, COMMITTED, RELEASED = "budget.reserved", "budget.committed", "budget.released"
KINDS = (RESERVED, COMMITTED, RELEASED)
EXPIRES_S = 900.0
"""Without a sign of life from a submitter on another machine, after which it is taken for dead."""

Amounts = Mapping[Measure, float | None]
"""Of a stage, by measure; what is unknown is None or not there."""
Facts = Mapping[str, str | None]
"""What a budget's scope asks about: project, account, cluster, sweep, chain, user."""


@dataclass(slots=True)
class Reservation:
    """What one submission asked for."""

    submission: str
    facts: Facts
    at_s: float
    writer: str
    """Journal of the submitter."""
    amounts: dict[str, Amounts]
    """By stage id."""
    over: tuple[str, ...] = ()
    """Budgets whose hard cap it exceeds, knowingly."""
    why: str | None = None
    committed: bool = False
    released: set[str] = field(default_factory=set)
    """Stages that hold nothing any more."""


class Told(NamedTuple):
    """A `budget.*` record, as far as it counts here."""

    kind: str
    wall_s: float
    writer: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of stages and submitters beside the reservations."""

    now_s: float
    is_finished: Callable[[str, float], bool] = lambda stage, since_s: False  # noqa: ARG005
    """Whether the stage is done, failed for good, or waits for one that failed, since then."""
    in_flight: AbstractSet[str] = frozenset()
    """Stages that Slurm has for good, or that run now."""
    is_alive: Callable[[str], bool | None] = lambda writer: None  # noqa: ARG005
    """Whether the process behind a journal lives; None where that cannot be known from here."""
    last_seen_s: Callable[[str], float | None] = lambda writer: None  # noqa: ARG005
    """When that journal was last written to."""


def reserved_data(
    submission: str, facts: Facts, amounts: Mapping[str, Amounts], over: Sequence[str], why: str | None
) -> dict[str, Any]:
    """The data of a `budget.reserved` event; stages of equal amounts together."""
    groups: dict[tuple[tuple[str, float | None], ...], list[str]] = {}
    for stage, of_stage in amounts.items():
        groups.setdefault(tuple(sorted(of_stage.items())), []).append(stage)
    stages = [{"ids": ids, "amounts": dict(same)} for same, ids in groups.items()]
    return {"submission": submission, "facts": dict(facts), "stages": stages, "over": list(over), "why": why}


def reservations(records: Iterable[Told]) -> list[Reservation]:
    """Every reservation ever made, the same whatever the order of the records; what is not one of ours is left out."""
    made: dict[str, Reservation] = {}
    committed: set[str] = set()
    released: dict[str, list[set[str] | None]] = {}
    for told in records:
        submission = told.data.get("submission")
        if not isinstance(submission, str):
            continue
        if told.kind == RESERVED:
            reservation = _reservation(submission, told)
            if reservation is not None and (submission not in made or reservation.at_s < made[submission].at_s):
                made[submission] = reservation
        elif told.kind == COMMITTED:
            committed.add(submission)
        elif told.kind == RELEASED:
            stages = told.data.get("stages")
            released.setdefault(submission, []).append(set(map(str, stages)) if isinstance(stages, list) else None)
    for submission, reservation in made.items():
        reservation.committed = submission in committed
        for stages in released.get(submission, ()):
            reservation.released |= set(reservation.amounts) if stages is None else stages
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


def _reservation(submission: str, told: Told) -> Reservation | None:
    facts, stages, over, why = (told.data.get(name) for name in ("facts", "stages", "over", "why"))
    if not isinstance(facts, dict) or not isinstance(stages, list):
        return None
    amounts: dict[str, Amounts] = {}
    for group in stages:
        if not isinstance(group, dict) or not isinstance(group.get("ids"), list):
            return None
        found = group.get("amounts")
        same = {measure: _number(found.get(measure)) for measure in MEASURES} if isinstance(found, dict) else {}
        amounts |= {str(stage): same for stage in group["ids"]}
    return Reservation(
        submission=submission,
        facts={str(name): value if isinstance(value, str) else None for name, value in facts.items()},
        at_s=told.wall_s,
        writer=told.writer,
        amounts=amounts,
        over=tuple(map(str, over)) if isinstance(over, list) else (),
        why=why if isinstance(why, str) else None,
    )


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0:
        return float(value)
    return None
