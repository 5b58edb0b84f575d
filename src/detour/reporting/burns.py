"""Consumption over time: of each budget that the report's work counts against, or of the work itself if none."""

from __future__ import annotations

from collections.abc import Sequence

from detour.budgets.arithmetic import UNITS
from detour.budgets.book import Book
from detour.budgets.burn import Piece, burn
from detour.budgets.caps import Budget
from detour.budgets.reservations import reservations
from detour.budgets.view import budget_view
from detour.ledger.events import BudgetEvent
from detour.ledger.view import LedgerView
from detour.reporting.costs import Counted
from detour.reporting.period import Period
from detour.reporting.report import BurnDown

POINTS = 60
"""Number of points of a curve; its table has the rows of the burn-down."""


def burn_downs(
    view: LedgerView, budgets: Sequence[Budget], attempts: Sequence[Counted], period: Period, now_s: float
) -> list[BurnDown]:
    """Return the burn-downs. A budget is shown in its current period, with the spending of all users."""
    possible = _possible(view, budgets)
    stages = {one.usage.stage for one in attempts}
    book = Book(view, now_s) if possible else None
    rows = []
    for budget in possible if book else ():
        assert book is not None
        ours = any(one.stage in stages and budget.scope.matches(one.facts) for one in book.spendings)
        shown = budget_view(book, budget) if ours else None
        if shown is not None:
            for measure, one in shown.burns.items():
                points = curve(shown.pieces[measure], one.start_s, one.now_s)
                rows.append(BurnDown(budget.name, measure, UNITS[measure], one, points))
    return rows or _own(attempts, period, now_s)


def curve(pieces: Sequence[Piece], start_s: float, now_s: float) -> list[tuple[float, float]]:
    """Return evenly spaced (instant, used since the start), in time linear in pieces and points.

    Each piece adds to the rate between its ends, so a single pass over all starts and ends suffices.
    """
    rate_changes: list[tuple[float, float]] = []
    for piece in pieces:
        first_s, last_s = max(piece.start_s, start_s), min(max(piece.end_s, piece.start_s + 1e-6), now_s)
        if last_s > first_s:
            rate = piece.amount / max(piece.end_s - piece.start_s, 1e-6)
            rate_changes += [(first_s, rate), (last_s, -rate)]
    rate_changes.sort()
    points, used, rate, at_s, index = [], 0.0, 0.0, start_s, 0
    for number in range(1, POINTS + 1):
        until_s = start_s + (now_s - start_s) * number / POINTS
        while index < len(rate_changes) and rate_changes[index][0] <= until_s:
            change_s, change = rate_changes[index]
            used, rate, at_s, index = used + rate * (change_s - at_s), rate + change, change_s, index + 1
        used, at_s = used + rate * (until_s - at_s), until_s
        points.append((until_s, used))
    return points


def _possible(view: LedgerView, budgets: Sequence[Budget]) -> list[Budget]:
    """Return the budgets that match a reservation, or whose scope does not need one: adding up the spending of all
    attempts is slow."""
    facts = [made.facts for made in reservations(view.commands(BudgetEvent))] if budgets else []
    return [
        budget
        for budget in budgets
        if any(budget.scope.matches(known) for known in facts)
        or not budget.scope.model_fields_set - {"cluster", "user"}
    ]


def _own(attempts: Sequence[Counted], period: Period, now_s: float) -> list[BurnDown]:
    """Return the consumption of the work itself, in GPU-hours if there are any, otherwise in CPU-hours."""
    on_gpus = any(one.usage.gpus for one in attempts)
    hours = [one.gpu_hours if on_gpus else one.cpu_hours for one in attempts]
    pieces = [
        Piece(one.usage.start_s, one.usage.end_s, used)
        for one, used in zip(attempts, hours, strict=True)
        if used is not None
    ]
    if not pieces:
        return []
    last_s = max(piece.end_s for piece in pieces)
    until_s = min(now_s, period.until_s) if period.until_s is not None else min(now_s, last_s)
    one = burn(pieces, 0.0, None, until_s, (period.since_s, None), period.time_zone)
    points = curve(pieces, one.start_s, one.now_s)
    return [
        BurnDown(None, "gpu_hours", "GPU-h", one, points)
        if on_gpus
        else BurnDown(None, "cpu_hours", "CPU-h", one, points)
    ]
