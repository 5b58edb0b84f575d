"""A small finished workspace for reports, written through the real journal; all figures are invented."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from detour.checkpoints.manifest import write_manifest
from detour.ledger.attempt import Attempt
from detour.ledger.events import AttemptEnded, AttemptStarted, CheckpointSaved, EnergyCounted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.planning.files import Target, write_plan
from detour.planning.plan import Plan
from detour.planning.stage import EvaluateStage, Stage
from tests.support.stages import make_stages

EPOCH_S = 1_790_000_000.0
PHASES = {"clm": ("causal", None, 300_000), "mlm": ("masked", 0.15, 60_000)}
HELD = {"node": "laptop", "gpus": 0, "cpus": 2, "ram_gb": 24.0, "nodes": 1, "cluster": "local"}
SEEDS = (42, 43, 44)
PROVENANCE = {
    "code": {"git_commit": "0123456789abcdef0123", "diff_sha256": None, "snapshot": None},
    "python": "3.11.7 (main)",
    "packages": {"torch": "2.13.0", "transformers": "5.23.0", "mosaicml": "0.32.1"},
    "machine": {"cpu": "Some CPU", "cpus_usable": 2, "memory_bytes": 24_000_000_000, "nvidia_gpus": []},
}


@dataclass(slots=True)
class Clock:
    """Replaces the module `time` in the journal; it moves only when set."""

    now_s: float = EPOCH_S

    def time(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s - EPOCH_S + 1000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@dataclass(slots=True)
class Made:
    workspace: Workspace
    clock: Clock = field(default_factory=Clock)

    @contextmanager
    def attempt(self, stage: Stage, number: int, held: dict[str, Any]) -> Iterator[Attempt]:
        """Record the start; the caller records the end, unless the attempt is killed."""
        with ExitStack() as patches:
            for module in ("record", "journal", "attempt"):
                patches.enter_context(patch(f"detour.ledger.{module}.time", self.clock))
            journal = Journal.open(self.workspace, f"{stage.id}.{number:04d}")
            attempt = Attempt(journal, stage=stage.id, number=number, job="77")
            attempt.event(AttemptStarted(**held))
            yield attempt
            journal.close()

    def finish(
        self, stage: Stage, attempt: Attempt, started_s: float, files: dict[str, Any], outcome: str = "done"
    ) -> None:
        elapsed_s = self.clock.now_s - started_s
        attempt.event(
            EnergyCounted(
                energy_kwh=elapsed_s * 28e-3 / 3600,
                cpu_kwh=elapsed_s * 8e-3 / 3600,
                gpu_kwh=0.0,
                ram_kwh=elapsed_s * 20e-3 / 3600,
                duration_s=max(elapsed_s - 2.0, 0.1),
                scope="this machine",
                detail="CPU by codecarbon's load model, RAM by codecarbon's model, no GPU",
                tool="codecarbon",
                version="3.3.2",
                reason=None,
            )
        )
        attempt.event(AttemptEnded(outcome=outcome, exit_code=0, reason=None))
        if outcome == "done":
            folder = self.workspace.output(stage.id)
            folder.mkdir(parents=True)
            for name, content in files.items():
                (folder / name).write_text(json.dumps(content))
            write_manifest(folder, {"stage": stage.to_json(), **PROVENANCE})

    def run(self, stage: Stage, seconds: float, files: dict[str, Any], held: dict[str, Any] | None = None) -> None:
        """Record one uninterrupted attempt."""
        started_s = self.clock.now_s
        with self.attempt(stage, 1, held or HELD) as attempt:
            self.clock.now_s += seconds
            self.finish(stage, attempt, started_s, files)


def stages_of(first_objective: str, seeds: Sequence[int] = SEEDS) -> list[Stage]:
    """Return prepare, two phases, export, evaluations, summary; phase 1 is causal or masked at 30 %."""
    (_, _, tokens), (objective, rate, decayed) = PHASES.values()
    first = {
        "name": first_objective,
        "objective": first_objective,
        "masking_rate": 0.3 if first_objective == "masked" else None,
        "tokens": tokens,
        "schedule": {"kind": "warmup_constant", "warmup": 28_000},
    }
    second = {
        "name": "mlm",
        "objective": objective,
        "masking_rate": rate,
        "tokens": decayed,
        "schedule": {"kind": "one_minus_sqrt"},
    }
    changes = {
        "data.sources.0.name": "icd10",
        "data.sequence_length": 100,
        "batch.sequences": 40,
        "phases": [first, second],
        "export.dtype": "float32",
        "benchmark.tasks.0.name": "icd10-chapters",
        "benchmark.seeds": list(seeds),
    }
    return list(make_stages(changes))


def write_chain(workspace: Workspace, name: str, stages: Sequence[Stage]) -> None:
    write_plan(workspace, Plan(name, tuple(stages)), Target())


def train(made: Made, stage: Stage, tokens: int, first: bool, killed_at: int | None = None) -> None:
    """Record progress each second, a checkpoint every 40,960 tokens; killed once at `killed_at` tokens and resumed."""
    step, done, number = 4096, 0, 1
    while True:
        started_s = made.clock.now_s
        with made.attempt(stage, number, HELD) as attempt:
            made.clock.now_s += 6.0
            while done < tokens:
                done += step
                made.clock.now_s += 1.2
                share = done / tokens
                loss = (8.3 - 4.1 * (1 - math.exp(-4 * share))) if first else 5.1 - 0.6 * share
                lr = min(1e-3, 1e-3 * done / 30_000) if first else 1e-3 * (0.1 + 0.9 * (1 - math.sqrt(share)))
                noise = 0.12 * math.sin(done / 3000) * math.cos(done / 777)
                attempt.progress(done, tokens, "tokens", loss=loss + noise, lr=lr, tokens_per_s=step / 1.2)
                if done % 40_960 == 0:
                    attempt.event(CheckpointSaved(step=done // step, tokens=done))
                    attempt.progress(done, tokens, "tokens", loss=loss, lr=lr, validation_loss=loss + 0.1)
                    attempt.event(EnergyCounted(energy_kwh=done * 2e-9, gpu_kwh=0.0, duration_s=1.2 * done / step))
                if killed_at is not None and done >= killed_at:
                    break
            else:
                made.finish(stage, attempt, started_s, {})
                return
        killed_at, number, done = None, number + 1, done // 40_960 * 40_960
        made.clock.now_s += 30.0


def record_chain(made: Made, name: str, stages: Sequence[Stage], level: float, killed_at: int | None = None) -> None:
    """Record a whole chain; stages that are done already are skipped."""
    write_chain(made.workspace, name, stages)
    trained = 0
    for stage in stages:
        if made.workspace.is_done(stage.id):
            continue
        if stage.kind == "prepare":
            counts = {"train_tokens": 181_000, "read_documents": 42_886, "excluded_documents": 27_206}
            made.run(stage, 9.0, {"index.json": {"sources": {"icd10": counts}}})
        elif stage.kind == "pretrain":
            train(made, stage, list(PHASES.values())[trained][2], trained == 0, None if trained else killed_at)
        elif stage.kind == "promote":
            losses = [(8.4, 4.32), (5.2, 4.61)][trained]
            trained += 1
            figures = {"parameters": 2_107_392, "parent_validation_loss": losses[0], "validation_loss": losses[1]}
            made.run(stage, 5.0, {"promotion.json": figures})
        elif isinstance(stage, EvaluateStage):
            score = level + 0.011 * math.sin(stage.seed * 2.3)
            result = {"primary_metric": "macro_f1", "test": {"macro_f1": score, "accuracy": score + 0.05}}
            made.run(stage, 21.0, {"result.json": result}, HELD | {"cpus": 1})
        else:
            made.run(stage, 3.0, {})


def make_twins(workspace: Workspace) -> Made:
    """Make `quickstart` (killed once) and its masked twin, which shares `prepare` with it."""
    workspace.create()
    made = Made(workspace)
    record_chain(made, "quickstart", stages_of("causal"), 0.719, killed_at=200_704)
    record_chain(made, "quickstart-mlm", stages_of("masked"), 0.701)
    return made
