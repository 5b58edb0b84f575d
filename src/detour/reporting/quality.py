"""The quality of the figures: what was recorded and what was not; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detour.accounting.energy import LEAST_COVERAGE, Method
from detour.ledger.events import HEARTBEAT_S
from detour.reporting.costs import Counted
from detour.reporting.data import Cost


@dataclass(frozen=True, slots=True)
class QualityRow:
    """One aspect: `known` out of `total` are good; `consequence` states what applies to the others."""

    aspect: str
    known: float
    total: float
    consequence: str

    @property
    def share(self) -> float | None:
        return self.known / self.total if self.total else None


def quality_rows(attempts: Sequence[Counted], cost: Cost, ledger_problems: int) -> list[QualityRow]:
    usages = [one.usage for one in attempts]
    count = len(usages)
    rows = [
        QualityRow(
            "attempts with a recorded end, or still running",
            sum(not usage.open_ended for usage in usages),
            count,
            f"the others are counted to their last heartbeat, at most {HEARTBEAT_S:.0f} s before their end",
        ),
        QualityRow(
            "attempts with hours from the scheduler's accounting",
            sum(usage.source != "journal" for usage in usages),
            count,
            "hours of the others are from their journals, first entry to last",
        ),
        QualityRow(
            "attempts that have ended",
            sum(not usage.running for usage in usages),
            count,
            "work of the others counts as useful until it turns out otherwise",
        ),
        QualityRow(
            "attempts whose GPUs are known",
            sum(usage.gpus is not None for usage in usages),
            count,
            "the others are not included in sums of GPU-hours",
        ),
        QualityRow(
            "attempts whose cores are known",
            sum(usage.cpus is not None for usage in usages),
            count,
            "the others are not included in sums of CPU-hours",
        ),
        QualityRow(
            "attempts with a known bill",
            sum(one.billed_hours is not None for one in attempts),
            count,
            "the others are not in billed hours: their profile, GPUs or cores are not known",
        ),
    ]
    rows += [
        QualityRow(
            f"time {'seen' if row.method.is_measured else 'covered'} by {row.method} ({row.site.name}), s",
            min(row.covered_s, row.allocated_s),
            row.allocated_s,
            f"quoted from {100 * LEAST_COVERAGE:.0f} % on, below that only if no method reaches it; unseen time is "
            "filled in at the mean power and marked, or not counted"
            if row.method.is_measured
            else "the rest has no energy: its GPUs, cores or their power are not known",
        )
        for row in cost.energy
        if row.method is not Method.CARD
    ]
    rows.append(
        QualityRow("ledgers without damage", 1 - bool(ledger_problems), 1, "damaged or lost records are listed above")
    )
    return rows
