"""A budget as `detour budget` shows it: what is spent and reserved in its current period, with a forecast."""

from __future__ import annotations

from dataclasses import dataclass

from detour.budgets.arithmetic import Balance, window_s
from detour.budgets.book import Book
from detour.budgets.burn import Burn, Piece, burn
from detour.budgets.caps import Budget, Measure
from detour.budgets.reservations import Reservation, is_held


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A budget in its current period."""

    budget: Budget
    balance: Balance
    pieces: dict[Measure, list[Piece]]
    """What was spent, also outside the period; attempts of unknown amount are left out."""
    burns: dict[Measure, Burn]
    reservations: tuple[Reservation, ...]
    """Reservations that still hold something."""
    overrides: tuple[Reservation, ...]
    """Reservations that exceeded it, with a recorded reason."""


def budget_view(book: Book, budget: Budget) -> BudgetView | None:
    """Return the view of a budget, None outside its period."""
    balance, bounds = book.balance(budget), window_s(budget, book.now_s)
    if balance is None or bounds is None:
        return None
    ours = [part for one in book.spendings if budget.scope.matches(one.facts) for part in one.cut(bounds)]
    pieces: dict[Measure, list[Piece]] = {}
    burns: dict[Measure, Burn] = {}
    for measure, cap in budget.caps().items():
        limit, reserved = cap.soft if cap.hard is None else cap.hard, balance.reserved_sum(measure)
        pieces[measure] = [
            Piece(one.start_s, one.end_s, value) for one in ours if (value := one.amounts.get(measure)) is not None
        ]
        burns[measure] = burn(pieces[measure], reserved, limit, book.now_s, bounds, budget.period.time_zone)
    made = [one for one in book.reservations if budget.scope.matches(one.facts)]
    return BudgetView(
        budget,
        balance,
        pieces,
        burns,
        tuple(one for one in made if any(is_held(one, stage, book.evidence) for stage in one.amounts)),
        tuple(one for one in made if budget.name in one.over),
    )
