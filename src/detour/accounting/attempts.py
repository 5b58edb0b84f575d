"""The journal's events of one attempt, folded into what the accounting needs: hours, fates, energy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from detour.accounting.energy import EnergyFigure, Site
from detour.accounting.hours import HOUR_S, AttemptUsage
from detour.accounting.methods import card_convention, estimated, tracked

if TYPE_CHECKING:
    from detour.ledger.record import Record

DEAD_AFTER_S = 120.0
"""Without a sign of life for longer (heartbeats come every 30 s), an attempt is taken for ended."""
LOST_TO_ERROR = frozenset({"failed", "refused"})


@dataclass(slots=True)
class AttemptLog:
    """One attempt as its journal tells it; `add` its records in their order."""

    stage: str
    number: int
    started_s: float | None = None
    ended_s: float | None = None
    last_sign_s: float | None = None
    first_progress_s: float | None = None
    last_saved_s: float | None = None
    outcome: str | None = None
    """done, interrupted, failed, refused, not-ready; None while nobody has said."""
    reason: str | None = None
    job: str | None = None
    started: dict[str, Any] = field(default_factory=dict)
    """Data of `attempt.started`: node, gpus, cpus, nodes, ram_gb, cluster."""
    energy: list[Mapping[str, Any]] = field(default_factory=list)
    checkpoints: int = 0

    def add(self, record: Record) -> None:
        kind, data, wall_s = record["kind"], record["data"], record["wall_s"]
        self.last_sign_s = wall_s if self.last_sign_s is None else max(wall_s, self.last_sign_s)
        self.job = record["job"] or self.job
        if kind == "attempt.started":
            self.started_s = wall_s
            self.started = dict(data)
        elif kind == "attempt.ended":
            self.ended_s = wall_s
            self.outcome, self.reason = data.get("outcome"), data.get("reason")
        elif kind == "progress" and self.first_progress_s is None:
            self.first_progress_s = wall_s
        elif kind == "checkpoint.saved":
            self.last_saved_s = wall_s
            self.checkpoints += 1
        elif kind == "energy":
            self.energy.append(data)

    def is_running(self, now_s: float) -> bool:
        """No end was told and there was a sign of life lately."""
        return self.ended_s is None and self.last_sign_s is not None and now_s - self.last_sign_s < DEAD_AFTER_S

    def usage(self, now_s: float) -> AttemptUsage:
        """As far as the journal knows: without an end, the allocation ends at the last sign of life."""
        start_s = first_known(self.started_s, self.last_sign_s, 0.0)
        end_s = first_known(self.ended_s, self.last_sign_s, start_s)
        done = self.outcome == "done"
        running = self.is_running(now_s)
        return AttemptUsage(
            id=f"{self.stage}.{self.number:04d}",
            stage=self.stage,
            start_s=start_s,
            end_s=end_s,
            gpus=self.started.get("gpus"),
            cpus=self.started.get("cpus"),
            nodes=self.started.get("nodes") or 1,
            ram_gb=self.started.get("ram_gb"),
            ready_s=start_s if done and self.first_progress_s is None else self.first_progress_s,
            saved_s=end_s if done else self.last_saved_s,
            failed=self.outcome in LOST_TO_ERROR,
            running=running,
            open_ended=self.ended_s is None and not running,
        )

    def figures(self, site: Site, now_s: float) -> list[EnergyFigure]:
        """One figure a method, side by side; those that are unknown say why."""
        usage = self.usage(now_s)
        allocated_s = usage.allocated_s
        reserved = None if usage.gpus is None else usage.gpus * allocated_s / HOUR_S
        return [
            tracked(site, self.energy, allocated_s),
            estimated(site, allocated_s, usage.gpus, usage.cpus, usage.ram_gb),
            card_convention(site, reserved, allocated_s),
        ]


def first_known(*values: float | None) -> float:
    """Raises StopIteration when all are None."""
    return next(value for value in values if value is not None)


def fold_attempts(records: Iterable[Record]) -> dict[tuple[str, int], AttemptLog]:
    """(stage, attempt number) -> its log; events that belong to no attempt are passed over."""
    logs: dict[tuple[str, int], AttemptLog] = {}
    for record in records:
        stage, number = record["stage"], record["attempt"]
        if stage is None or number is None:
            continue
        log = logs.get((stage, number))
        if log is None:
            log = logs[stage, number] = AttemptLog(stage, number)
        log.add(record)
    return logs
