"""Whether a submission fits into a budget: requested + reserved + spent against the cap. Pure.

A stage runs once, so reservations for the same stage are not added up: the largest counts, minus what the stage has
spent since the reservation was made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from math import floor, fsum, inf, log10
from typing import NamedTuple

from detour.budgets.burn import share_between
from detour.budgets.caps import MEASURES, Budget, Measure
from detour.budgets.reservations import Amounts, Evidence, Facts, Reservation, is_held
from detour.grouping import grouped
from detour.times import local, midnight_s

ROUNDING = 1e-9
PLACES, MOST_PLACES = 2, 9
UNITS: Mapping[Measure, str] = {
    "gpu_hours": "GPU-h",
    "billed_hours": "billed h",
    "energy_kwh": "kWh",
    "co2_kg": "kg CO2eq",
}


Window = tuple[float | None, float | None]
"""Start and end (exclusive) of a period, in seconds since the epoch; None if unbounded."""


class Spending(NamedTuple):
    """The usage of one attempt so far."""

    stage: str
    facts: Facts
    start_s: float
    end_s: float
    """Seconds since the epoch."""
    amounts: Amounts
    amounts_in: Callable[[float, float], Amounts] | None = None
    """Amounts between two instants; None if they are even over time."""

    def cut(self, bounds_s: Window) -> list[Spending]:
        """Return its parts before, in and after a period: PUE and grid factor may differ from month to month."""
        within = [at_s for at_s in bounds_s if at_s is not None and self.start_s < at_s < self.end_s]
        if self.amounts_in is None or not within:
            return [self]
        return [
            self._replace(start_s=from_s, end_s=to_s, amounts=self.amounts_in(from_s, to_s))
            for from_s, to_s in pairwise([self.start_s, *within, self.end_s])
        ]


@dataclass(frozen=True, slots=True)
class Balance:
    """A budget in its current period, before anything more is requested."""

    budget: Budget
    spent: Mapping[Measure, float]
    reserved: Mapping[str, Amounts]
    """Amounts still reserved, by stage id."""
    unknown: Mapping[Measure, int]
    """Number of attempts and reservations of unknown amount, which the sums do not include."""

    def reserved_sum(self, measure: Measure) -> float:
        return fsum(amounts.get(measure) or 0.0 for amounts in self.reserved.values())


class Line(NamedTuple):
    """The arithmetic of one cap."""

    budget: str
    measure: Measure
    soft: float | None
    hard: float | None
    spent: float
    reserved: float
    asked: float
    """Amount requested in addition to what is already reserved for the same stages."""
    unknown: int
    """Number of stages of the submission of unknown amount."""

    @property
    def after(self) -> float:
        return self.spent + self.reserved + self.asked

    @property
    def left(self) -> float | None:
        """Amount left before the submission; None without a hard cap."""
        return None if self.hard is None else self.hard - self.spent - self.reserved

    @property
    def is_refused(self) -> bool:
        """Whether the cap would be exceeded, or an amount is unknown. Requesting nothing never exceeds it."""
        if self.hard is None:
            return False
        return self.unknown > 0 or (self.asked > 0 and self.after > self.hard * (1 + ROUNDING))

    @property
    def is_warned(self) -> bool:
        return self.soft is not None and self.after > self.soft * (1 + ROUNDING)

    @property
    def places(self) -> int:
        """Decimals that show two digits of what is asked, of each cap, and of what exceeds it."""
        limits = [limit for limit in (self.soft, self.hard) if limit is not None]
        amounts = [self.asked, *limits, *(self.after - limit for limit in limits)]
        least = min((one for one in amounts if one > ROUNDING), default=1.0)
        return min(max(PLACES, 1 - floor(log10(least))), MOST_PLACES)

    def rounded(self) -> Line:
        """The same with amounts as they are shown, so that a reader can add them up."""
        spent, reserved, asked = (round(one, self.places) for one in (self.spent, self.reserved, self.asked))
        return self._replace(spent=spent, reserved=reserved, asked=asked)


def window_s(budget: Budget, now_s: float) -> Window | None:
    """Return the start of the current period and its end (exclusive), in seconds since the epoch; None outside it."""
    time_zone = budget.period.time_zone
    window = budget.period.window(local(now_s, time_zone).date())
    if window is None:
        return None
    first, last = window
    return (
        None if first is None else midnight_s(first, time_zone),
        None if last is None else midnight_s(last + timedelta(days=1), time_zone),
    )


def balance(
    budget: Budget,
    made: Iterable[Reservation],
    spendings: Iterable[Spending],
    evidence: Evidence,
    window_s: Window = (None, None),
) -> Balance:
    """Return the balance within `window_s`, the current period; reservations count whenever they were made."""
    ours = [spending for spending in spendings if budget.scope.matches(spending.facts)]
    spent_by_stage = grouped((spending.stage, spending) for spending in ours)
    unknown: dict[Measure, int] = dict.fromkeys(budget.caps(), 0)
    spent: dict[Measure, float] = {}
    first_s, last_s = (-inf if window_s[0] is None else window_s[0]), (inf if window_s[1] is None else window_s[1])
    parts = [part for one in ours for part in one.cut(window_s)]
    within = [
        (one.amounts, share) for one in parts if (share := share_between(one.start_s, one.end_s, first_s, last_s))
    ]
    for measure in budget.caps():
        known = [value * share for amounts, share in within if (value := amounts.get(measure)) is not None]
        spent[measure] = fsum(known)
        unknown[measure] += len(within) - len(known)
    held: dict[str, Amounts] = {}
    for reservation in made:
        if budget.scope.matches(reservation.facts):
            for stage, amounts in reservation.amounts.items():
                if is_held(reservation, stage, evidence):
                    rest = _rest(amounts, spent_by_stage.get(stage, ()), reservation.at_s)
                    held[stage] = _larger(held.get(stage, {}), rest)
    for measure in unknown:
        unknown[measure] += sum(amounts.get(measure) is None for amounts in held.values())
    return Balance(budget, spent, held, unknown)


def check(present: Balance, asked: Mapping[str, Amounts]) -> list[Line]:
    """Return every cap's arithmetic for a submission; `asked` is by stage id."""
    budget = present.budget
    return [
        Line(
            budget=budget.name,
            measure=measure,
            soft=cap.soft,
            hard=cap.hard,
            spent=present.spent[measure],
            reserved=present.reserved_sum(measure),
            asked=fsum(
                max(0.0, (amounts.get(measure) or 0.0) - (present.reserved.get(stage, {}).get(measure) or 0.0))
                for stage, amounts in asked.items()
            ),
            unknown=sum(amounts.get(measure) is None for amounts in asked.values()),
        )
        for measure, cap in budget.caps().items()
    ]


def fitting(lines: Iterable[Line], asked: Mapping[str, Amounts], inputs: Mapping[str, Collection[str]]) -> list[str]:
    """Return the stages, in the order of `asked`, that fit together with all requested stages that they need.

    `inputs` maps a stage to the stages it reads.
    """
    room = [(line.measure, line.left + (line.hard or 0.0) * ROUNDING) for line in lines if line.left is not None]
    taken: dict[str, None] = {}
    used: dict[Measure, float] = dict.fromkeys(MEASURES, 0.0)
    for stage, amounts in asked.items():
        if any(one in asked and one not in taken for one in inputs.get(stage, ())):
            continue
        values = {measure: amounts.get(measure) for measure, _ in room}
        if all(
            (value := values[measure]) is not None and (value == 0 or used[measure] + value <= left)
            for measure, left in room
        ):
            taken[stage] = None
            for measure, value in values.items():
                used[measure] += value or 0.0
    return list(taken)


def _rest(amounts: Amounts, spendings: Iterable[Spending], since_s: float) -> Amounts:
    """Return what is left of a stage's reservation after its usage since then."""
    used = [spending.amounts for spending in spendings if spending.start_s >= since_s]
    return {
        measure: None if value is None else max(0.0, value - fsum(one.get(measure) or 0.0 for one in used))
        for measure, value in amounts.items()
    }


def _larger(one: Amounts, other: Amounts) -> Amounts:
    return {
        measure: max((value for value in (one.get(measure), other.get(measure)) if value is not None), default=None)
        for measure in {**one, **other}
    }
