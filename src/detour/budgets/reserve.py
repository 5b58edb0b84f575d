"""Reserve budget for submissions; every submission gets its share through this module.

A claim serialises users: its holder reads the whole ledger, adds up, and records the reservation before releasing the
claim. A submitter that dies leaves a claim and possibly a reservation that need no cleaning up.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from detour.accounting.hours import HOUR_S
from detour.budgets.arithmetic import Line
from detour.budgets.book import Book, Demand, energy_amounts
from detour.budgets.caps import Budget, load_budgets
from detour.budgets.refusal import refusal
from detour.budgets.reservations import Amounts, Facts, reserved_stages
from detour.config.cluster import Cluster
from detour.errors import BudgetRefused, UserError
from detour.ledger.claims import Claim, ClaimHeld, claim
from detour.ledger.events import BudgetCommitted, BudgetReleased, BudgetReserved
from detour.ledger.journal import Journal, command_journal
from detour.ledger.process import Process
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from detour.pricing.billing import held_and_billed
from detour.pricing.limits import stage_limit_s
from detour.pricing.price import Price
from detour.pricing.totals import energy_of

CLAIM = "budget"
PATIENCE_S = 60.0


def demand_for(
    stages: Sequence[Stage], prices: Mapping[str, Price], cluster: Cluster, facts: Facts, wall_s: int | None = None
) -> Demand:
    """Return what the stages request, by their time limits, which no stage can exceed without another request.

    `wall_s` is the time limit requested for a segment of a training, which may be longer than the training's estimate.
    """
    by_price: dict[Price, Amounts] = {}
    for stage in stages:
        price = prices[stage.id]
        if price not in by_price:
            requested_s = wall_s if stage.kind == "pretrain" else None
            by_price[price] = limit_amounts(price, cluster, max(stage_limit_s(stage, price), requested_s or 0))
    unpriced = frozenset(stage.id for stage in stages if prices[stage.id].wall_s is None)
    return Demand(facts, stages, {stage.id: by_price[prices[stage.id]] for stage in stages}, unpriced)


def limit_amounts(price: Price, cluster: Cluster, limit_s: int) -> Amounts:
    hours = limit_s / HOUR_S
    held, billed = held_and_billed(cluster, price.gpus, price.cores)
    _, figure = energy_of(cluster, price.gpus, price.cores, limit_s)
    return {
        "gpu_hours": None if held is None else held * hours,
        "billed_hours": None if billed is None else billed * hours,
        **energy_amounts(figure),
    }


def facts_of(cluster: Cluster, account: str | None, chain: str | None, sweep: str | None = None) -> Facts:
    """Return the facts of a submission. `account` is as given to sbatch; the project is the part before its `@`."""
    account = account or cluster.full_account("gpu")
    return {
        "project": account.partition("@")[0] if account else None,
        "account": account,
        "cluster": cluster.name,
        "sweep": sweep,
        "chain": chain,
        "user": Process.current().user,
    }


@dataclass(frozen=True, slots=True)
class Outlook:
    """The arithmetic of the budgets that apply, for a submission made now."""

    lines: tuple[Line, ...]
    demand: Demand


def outlook(view: LedgerView, demand: Demand) -> Outlook:
    """Check a submission by its time limits, without reserving anything."""
    book = Book(view)
    demand = book.without_in_flight(demand)
    return Outlook(tuple(book.check(load_budgets(), demand)), demand)


@dataclass(slots=True)
class Share:
    """A submission's reserved share of the budgets."""

    journal: Journal
    submission: str
    lines: tuple[Line, ...]
    """The arithmetic of every cap that applies."""
    is_open: bool = True

    @property
    def exceeded(self) -> tuple[Line, ...]:
        """Caps that the submission exceeds: soft ones, and hard ones with a recorded reason."""
        return tuple(line for line in self.lines if line.is_refused or line.is_warned)

    def commit(self) -> None:
        """Keep the reservation until its stages end, even if this process dies: the stages have been handed over."""
        self.journal.append(BudgetCommitted(submission=self.submission))
        self.is_open = False

    def release(self, why: str) -> None:
        self.journal.append(BudgetReleased(submission=self.submission, stages=None, why=why))
        self.is_open = False


@contextmanager
def reserving(
    workspace: Workspace, journal: Journal, budgets: Sequence[Budget], demand: Demand, why_over: str | None = None
) -> Iterator[Share]:
    """Hold the submission's share during the block and release it at its end, unless `commit` was called.

    Raises the errors of `reserve`. After a kill, the share becomes free by itself.
    """
    share = reserve(workspace, journal, budgets, demand, why_over)
    try:
        yield share
    finally:
        if share.is_open:
            share.release("ended, with nothing handed over")


def reserve(
    workspace: Workspace, journal: Journal, budgets: Sequence[Budget], demand: Demand, why_over: str | None = None
) -> Share:
    """Record the submission's share, if every budget that applies has room for it or `why_over` gives a reason.

    Raises BudgetRefused (exit code 4) with the arithmetic and what would fit; UserError if the ledger cannot be read or
    written, or another process has been reserving for longer than a minute.
    """
    with _exclusively(workspace):
        book = Book(LedgerView(workspace))
        demand = book.without_in_flight(demand)
        lines = book.check(budgets, demand)
        refused = [line for line in lines if line.is_refused]
        if lines and book.view.damage.unreadable:
            raise UserError(
                f"the budget cannot be checked, because this cannot be read: {book.view.damage.unreadable[0]}"
            )
        if refused and why_over is None:
            raise BudgetRefused(refusal(lines, demand))
        submission = secrets.token_hex(6)
        over = list(dict.fromkeys(line.budget for line in refused))
        journal.append(
            BudgetReserved(
                submission=submission,
                facts=dict(demand.facts),
                stages=reserved_stages(demand.amounts),
                over=over,
                why=why_over,
            )
        )
        if not journal.flush():
            raise UserError(f"{workspace.ledger}: the ledger cannot be written (disk full?), so nothing is reserved")
    return Share(journal, submission, tuple(lines))


def release_stages(workspace: Workspace, journal: Journal, stages: Collection[str], why: str) -> None:
    """Release what any user has reserved for stages that will not run after all."""
    for made in Book(LedgerView(workspace)).reservations:
        freed = sorted(made.amounts.keys() & set(stages) - made.released)
        if freed:
            journal.append(BudgetReleased(submission=made.submission, stages=freed, why=why))


def release_submission(workspace: Workspace, submission: str) -> None:
    """Release everything that one submission has reserved. Raises UserError if it has reserved nothing."""
    if submission not in {made.submission for made in Book(LedgerView(workspace)).reservations}:
        raise UserError(f"no submission {submission!r} has reserved anything in {workspace.root}")
    with command_journal(workspace) as journal:
        journal.append(BudgetReleased(submission=submission, stages=None, why="detour budget --release"))


@contextmanager
def _exclusively(workspace: Workspace) -> Iterator[None]:
    """Hold the claim on reservations; waits up to a minute for the others, which take milliseconds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            held: Claim = claim(workspace, CLAIM, "a reservation")
            break
        except ClaimHeld:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(random.uniform(0.01, 0.05))
    with held:
        yield
