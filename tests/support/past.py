"""A ledger with a long past: one journal, written like any other, with given times."""

from __future__ import annotations

from typing import Any

from detour.ledger.record import SCHEMA, encode
from detour.ledger.workspace import Workspace


class Past:
    """Add events, then `write` them. Times are seconds since the epoch."""

    def __init__(self, workspace: Workspace, writer: str = "past") -> None:
        self._workspace, self._writer, self._lines = workspace, writer, list[bytes]()

    def add(
        self,
        kind: str,
        wall_s: float,
        data: dict[str, Any],
        stage: str | None = None,
        attempt: int | None = None,
        job: str | None = None,
        chain: str | None = None,
    ) -> None:
        """`job` defaults to 7 for events of a stage, and to none for others."""
        record: Any = {
            "schema": SCHEMA,
            "wall_s": float(wall_s),
            "mono_s": float(wall_s),
            "writer": self._writer,
            "sequence": len(self._lines),
            "kind": kind,
            "chain": chain,
            "stage": stage,
            "job": job or ("7" if stage else None),
            "attempt": attempt,
            "data": data,
        }
        self._lines.append(encode(record))

    def attempt(
        self,
        stage: str,
        start_s: float,
        elapsed_s: float | None,
        *,
        number: int = 1,
        start_up_s: float = 0.0,
        outcome: str = "done",
        job: str | None = None,
        **held: Any,
    ) -> None:
        """One run of a stage; without `elapsed_s` it is still running. `held` is its gpus, cpus and cluster."""
        self.add("attempt.started", start_s, {"nodes": 1, **held}, stage, number, job)
        progress = {"done": 1, "total": 2, "unit": "tokens", "figures": {}}
        self.add("progress", start_s + start_up_s, progress, stage, number, job)
        if elapsed_s is None:
            return
        if outcome == "done":
            self.add("stage.done", start_s + elapsed_s, {"result": {}}, stage, number, job)
        code = 0 if outcome == "done" else 1
        self.add("attempt.ended", start_s + elapsed_s, {"outcome": outcome, "exit_code": code}, stage, number, job)

    def write(self) -> None:
        folder = self._workspace.ledger / "2026-01"
        folder.mkdir(exist_ok=True)
        (folder / f"{self._writer}.jsonl").write_bytes(b"".join(self._lines))
