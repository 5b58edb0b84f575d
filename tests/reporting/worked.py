"""Two chains whose figures docs/reports.md works out by hand: one released, one tried; a kill and an error on the way.

    job   stage             GPUs  cores  from   hours  what happened
    100   prepare              0      4  20:10    0.5  done
    101   pretrain 1           4     96  21:00    2.0  ready after 0.1 h, saved after 1.5 h, killed: 0.5 h redone
    101   pretrain 1, again    4     96  23:10    1.5  ready after 0.1 h, done; across midnight
    102   pretrain 2           4     96  01:00  0.3125 ready after 0.0125 h, done
    103   evaluate, 3 times    1     48  02:00   0.25  the first of seed 42 fails, then both seeds are done
    104   pretrain 2, longer   4     96  03:00    0.5  ready after 0.0125 h, done (the second chain's)
    105   evaluate, twice      1     48  04:00   0.25  both done (the second chain's)

Night of 30 June 2026, UTC; promotions, exports and summaries take no time that counts.
"""

from __future__ import annotations

import json
from typing import Any

from detour.checkpoints.manifest import write_manifest
from detour.ledger.workspace import Workspace
from detour.planning.files import Target, write_plan
from detour.planning.plan import Plan
from detour.planning.stage import EvaluateStage, PretrainStage, Stage
from detour.site import Site, Sourced
from tests.reporting.fabricate import PROVENANCE
from tests.support.past import Past
from tests.support.stages import make_stages

HOUR_S = 3600.0
EVENING_S = 1_782_849_600.0
"""2026-06-30 20:00 UTC."""
NOW_S = EVENING_S + 10 * HOUR_S
CLUSTER = "jean-zay"
RELEASED, TRIED, SWEEP = "decay-60k", "decay-120k", "decays"
SITE = Site(
    CLUSTER,
    pue=Sourced(1.2, "by hand"),
    grid_g_per_kwh=Sourced(34.0, "by hand"),
    gpu_board_w=Sourced(700.0, "by hand"),
    core_w=Sourced(7.3, "by hand"),
)
PHASES = (
    {"name": "clm", "objective": "causal", "tokens": 300_000},
    {"name": "mlm", "objective": "masked", "masking_rate": 0.15, "tokens": 60_000},
)


def site_of(name: str | None) -> Site:
    return SITE if name == CLUSTER else Site(name or "unknown place")


def make_worked(workspace: Workspace) -> None:
    workspace.create()
    released, tried = _stages(60_000), _stages(120_000)
    for name, stages in ((RELEASED, released), (TRIED, tried)):
        write_plan(workspace, Plan(name, stages), Target(CLUSTER, SITE, sweep=SWEEP))
    past = _Night(workspace)
    past.ran(released[0], "100", 0, 4, at_h=1 / 6, hours=0.5)
    first, second = (stage for stage in released if isinstance(stage, PretrainStage))
    past.ran(first, "101", 4, 96, at_h=1.0, hours=2.0, ready_h=0.1, saved_h=1.5, outcome=None)
    past.ran(first, "101", 4, 96, at_h=3 + 1 / 6, hours=1.5, ready_h=0.1, number=2)
    past.ran(second, "102", 4, 96, at_h=5.0, hours=0.3125, ready_h=0.0125)
    scored, scored_again = ([one for one in of if isinstance(one, EvaluateStage)] for of in (released, tried))
    past.ran(scored[0], "103", 1, 48, at_h=6.0, hours=0.25, outcome="failed")
    past.ran(scored[0], "103", 1, 48, at_h=6.25, hours=0.25, number=2)
    past.ran(scored[1], "103", 1, 48, at_h=6.5, hours=0.25)
    (longer,) = (one for one in tried if isinstance(one, PretrainStage) and one.id != first.id)
    past.ran(longer, "104", 4, 96, at_h=7.0, hours=0.5, ready_h=0.0125)
    for number, evaluation in enumerate(scored_again):
        past.ran(evaluation, "105", 1, 48, at_h=8.0 + 0.25 * number, hours=0.25)
    for stages, done_h in ((released, (4 + 2 / 3, 5.3125, 5.3125)), (tried, (4 + 2 / 3, 7.5, 7.5))):
        quick = [stage for stage in stages if stage.kind in ("promote", "export")]
        for stage, at_h in zip(quick, done_h, strict=True):
            past.add("stage.done", EVENING_S + at_h * HOUR_S, {"result": {}}, stage.id, 1)
    past.sent("pretrain-0", "101", at_h=2.0)  # another cluster has a job with this id
    past.write()
    for stages, level in ((released, 0.70), (tried, 0.72)):
        for stage in stages:
            _finish(workspace, stage, level)


def _stages(decay: int) -> tuple[Stage, ...]:
    changes = {
        "data.sequence_length": 100,
        "batch.sequences": 40,
        "phases": [PHASES[0] | _schedule(), PHASES[1] | _schedule() | {"tokens": decay}],
        "benchmark.seeds": [42, 43],
    }
    return make_stages(changes)


def _schedule() -> dict[str, Any]:
    return {"schedule": {"kind": "warmup_constant", "warmup": 28_000}}


class _Night(Past):
    """What happened, in hours since the evening; jobs are accepted at its beginning."""

    def sent(self, stage: str, job: str, at_h: float = 0.0) -> None:
        tag = f"detour:1:w:{stage}:1:s{job}"
        self.add("submit.intent", EVENING_S, {"tags": [tag], "tasks": [[stage]], "dependency": ""})
        self.add("submit.accepted", EVENING_S + at_h * HOUR_S, {"tags": [tag], "job_id": job})

    def ran(
        self,
        stage: Stage,
        job: str,
        gpus: int,
        cpus: int,
        *,
        at_h: float,
        hours: float,
        ready_h: float | None = None,
        saved_h: float | None = None,
        outcome: str | None = "done",
        number: int = 1,
    ) -> None:
        """Without an outcome it was killed: its last event is progress."""
        if number == 1:
            self.sent(stage.id, job)
        start_s = EVENING_S + at_h * HOUR_S
        held = {"nodes": 1, "node": "node1", "gpus": gpus, "cpus": cpus, "cluster": CLUSTER}
        self.add("attempt.started", start_s, held, stage.id, number, job)
        for step, after_h in ((1, ready_h), (5, saved_h), (9, hours if outcome is None else None)):
            if after_h is None:
                continue
            at_s = start_s + after_h * HOUR_S
            figures = {"loss": 8.0 - step / 4, "tokens_per_s": 1000.0}
            progress = {"done": step * 4000, "total": 300_000, "unit": "tokens", "figures": figures}
            self.add("progress", at_s, progress, stage.id, number, job)
            if step == 5:
                self.add("checkpoint.saved", at_s, {"step": 5, "tokens": 20_000, "save_s": 2.0}, stage.id, number, job)
        end_s = start_s + hours * HOUR_S
        if outcome == "done":
            self.add("stage.done", end_s, {"result": {}}, stage.id, number, job)
        if outcome is not None:
            ended = {"outcome": outcome, "exit_code": int(outcome != "done"), "reason": None}
            self.add("attempt.ended", end_s, ended, stage.id, number, job)


def _finish(workspace: Workspace, stage: Stage, level: float) -> None:
    folder = workspace.output(stage.id)
    if folder.exists():
        return
    folder.mkdir(parents=True)
    for name, content in _output(stage, level).items():
        (folder / name).write_text(json.dumps(content))
    write_manifest(folder, {"stage": stage.to_json(), **PROVENANCE})


def _output(stage: Stage, level: float) -> dict[str, Any]:
    if isinstance(stage, EvaluateStage):
        score = level + (0.01 if stage.seed == 42 else -0.01)
        return {"result.json": {"primary_metric": "macro_f1", "test": {"macro_f1": score}}}
    if stage.kind == "promote":
        return {"promotion.json": {"parameters": 2_000_000, "validation_loss": 4.0, "parent_validation_loss": 8.0}}
    return {"any.json": {}}
