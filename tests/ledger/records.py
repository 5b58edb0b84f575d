"""Ledgers to fold: made by hand, or drawn by hypothesis."""

from typing import Any, cast

from hypothesis import strategies as st

from detour.ledger.record import Entry, Record, entry_of

STAGE_KINDS = (
    "attempt.started",
    "attempt.heartbeat",
    "progress",
    "checkpoint.saved",
    "energy",
    "attempt.ended",
    "stage.done",
    "stage.failed",
    "submit.stage",
    "cancel.stage",
)


def make_record(writer: str = "w", sequence: int = 0, kind: str = "attempt.heartbeat", **fields: Any) -> Record:
    record: Record = {
        "schema": 1,
        "wall_s": 1_000_000.0 + sequence,
        "mono_s": 10.0 + sequence,
        "writer": writer,
        "sequence": sequence,
        "kind": kind,
        "chain": None,
        "stage": "pretrain-1",
        "job": "7",
        "attempt": 1,
        "data": {},
    }
    return cast("Record", record | fields)


def make_entry(writer: str = "w", sequence: int = 0, kind: str = "attempt.heartbeat", **fields: Any) -> Entry[Any]:
    entry = entry_of(make_record(writer, sequence, kind, **fields))
    assert entry is not None
    return entry


def _data(kind: str, value: int) -> dict[str, Any]:
    by_kind: dict[str, dict[str, Any]] = {
        "progress": {"done": value, "total": 100, "unit": "tokens", "figures": {"loss": value / 7}},
        "energy": {"energy_kwh": value / 1000},
        "checkpoint.saved": {"step": value, "tokens": 10 * value},
        "chain.submitted": {"cluster": "local"},
        "attempt.ended": {"outcome": ("done", "interrupted", "failed", "refused")[value % 4], "exit_code": value},
        "stage.done": {"result": value},
    }
    return by_kind.get(kind, {"value": value})


@st.composite
def journals(draw: st.DrawFn) -> list[list[Entry[Any]]]:
    """Draw some writers, each with its records in order; clocks may jump, and writers share attempts and stages."""
    written = []
    for number in range(draw(st.integers(1, 4))):
        records = []
        for sequence in range(draw(st.integers(0, 12))):
            kind = draw(st.sampled_from((*STAGE_KINDS, "chain.submitted", "journal.closed")))
            of_stage = kind in STAGE_KINDS
            records.append(
                make_entry(
                    f"writer-{number}",
                    sequence,
                    kind,
                    wall_s=float(draw(st.integers(0, 50))),
                    mono_s=float(sequence),
                    chain=draw(st.sampled_from([None, "base"])) if of_stage else "base",
                    stage=draw(st.sampled_from(["pretrain-1", "promote-2"])) if of_stage else None,
                    job=draw(st.sampled_from([None, "7", "8"])),
                    attempt=draw(st.sampled_from([None, 1, 2])) if of_stage else None,
                    data=_data(kind, draw(st.integers(0, 100))),
                )
            )
        written.append(records)
    return written
