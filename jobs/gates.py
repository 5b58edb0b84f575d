"""Verdicts on a checkpoint or an export, as events of the ledger."""

from __future__ import annotations

from detour.checkpoints.gates import Verdict
from detour.ledger.events import GateJudged


def gate_judged(verdict: Verdict) -> GateJudged:
    return GateJudged(
        gate=verdict.name,
        passed=verdict.passed,
        arithmetic=verdict.arithmetic,
        short_by=verdict.short_by,
        overridden=verdict.overridden,
    )
