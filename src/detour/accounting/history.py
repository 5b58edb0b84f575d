"""What this workspace has measured: durations of finished stages, so that the next plan is priced by the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import orjson

from detour.accounting.price import Measured, training_signature
from detour.ledger.state import StageState, State
from detour.ledger.workspace import Workspace
from detour.plan.stage import Stage


@dataclass(frozen=True, slots=True)
class Finished:
    """A stage that ended well in one attempt; several attempts mix in waiting and redone work, and price nothing."""

    stage: Stage
    elapsed_s: float
    gpus: int
    result: Mapping[str, Any]


class LedgerHistory:
    """Answers `detour.accounting.price.History` from the ledger; reads stage files only of finished stages."""

    def __init__(self, workspace: Workspace, state: State) -> None:
        self._training: dict[str, list[Measured]] = {}
        self._elapsed_s: dict[str, list[float]] = {}
        for finished in finished_stages(workspace, state):
            if finished.stage.kind == "pretrain":
                if measured := measured_training(finished):
                    self._training.setdefault(training_signature(finished.stage), []).append(measured)
            else:
                self._elapsed_s.setdefault(work_signature(finished.stage), []).append(finished.elapsed_s)

    def training(self, signature: str) -> Measured | None:
        rows = self._training.get(signature)
        if not rows:
            return None
        return Measured(
            fmean(row.tokens_per_s_per_gpu for row in rows), fmean(row.overhead_s for row in rows), len(rows)
        )

    def elapsed_s(self, stage: Stage) -> float | None:
        rows = self._elapsed_s.get(work_signature(stage))
        return fmean(rows) if rows else None


def finished_stages(workspace: Workspace, state: State) -> Iterator[Finished]:
    for stage_state in state.stages.values():
        finished = _finished(workspace, stage_state)
        if finished is not None:
            yield finished


def measured_training(finished: Finished) -> Measured | None:
    """Steady speed and everything beside it; None when the stage told no speed."""
    tokens, speed = finished.result.get("tokens"), finished.result.get("tokens_per_s")
    if not tokens or not speed:
        return None
    return Measured(speed / max(1, finished.gpus), max(0.0, finished.elapsed_s - tokens / speed), 1)


def work_signature(stage: Stage) -> str:
    """Equal for stages, other than trainings, that should take equally long: same kind and task, any seed."""
    task = stage.settings.get("task")
    return f"{stage.kind} {task['name']}" if task else stage.kind


def _finished(workspace: Workspace, state: StageState) -> Finished | None:
    if state.status != "done" or len(state.attempts) != 1:
        return None
    attempt = state.attempts[0]
    if attempt.elapsed_s is None or attempt.started is None:
        return None
    try:
        stage = Stage.from_json(orjson.loads((workspace.stage(state.id) / "stage.json").read_bytes()))
    except (OSError, ValueError, KeyError):
        return None
    gpus = attempt.started.data.get("gpus")
    result = state.result if isinstance(state.result, dict) else {}
    return Finished(stage, attempt.elapsed_s, gpus if isinstance(gpus, int) else 0, result)
