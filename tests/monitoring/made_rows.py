"""Rows of the read model, for tests that need only a few of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detour.monitoring.status import ChainStatus, StageRow

KNOWN: dict[str, Any] = {
    "id": "pretrain-1",
    "name": "pretrain clm",
    "kind": "pretrain",
    "status": "failed",
    "state": "failed",
    "needs_person": False,
    "inputs": (),
    "chains": ("base",),
    "figures": {},
    "attempts": 1,
    "jobs": (),
    "segments": (),
    "elapsed_s": 9.0,
    "unknown_gpus": 0,
}
ROW = StageRow(**{**dict.fromkeys(StageRow._fields), **KNOWN})


def make_row(**changes: Any) -> StageRow:
    return ROW._replace(**changes)


def make_chain(name: str, rows: Sequence[StageRow], **changes: Any) -> ChainStatus:
    known: dict[str, Any] = {
        "name": name,
        "stages": tuple(rows),
        "unknown_durations": 0,
        "critical_path": (),
        "energy": (),
    }
    return ChainStatus(**{**dict.fromkeys(ChainStatus._fields), **known, **changes})
