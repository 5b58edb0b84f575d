"""A synthetic week of a group: fifty chains of three sweeps that share their first stages, in every state."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from detour.ledger.workspace import Workspace
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from tests.support.past import Past
from tests.support.recipes import make_recipe

HOUR_S = 3600.0
SWEEPS = {"clm-decay": 20, "mlm-baseline": 18, "tokenizer": 12}
SITE = {
    "name": "here",
    "pue": {"value": 1.2, "source": "operator", "year": 2024},
    "grid_g_per_kwh": {"value": 50.0, "source": "RTE"},
    "gpu_board_w": {"value": 700, "source": "vendor"},
    "core_w": {"value": 10, "source": "vendor"},
    "ram_w_per_gb": None,
}


def chain_plans() -> dict[str, tuple[str, Plan]]:
    """Chain -> its sweep and plan."""

    def inspect(entry: object) -> Content | None:
        return None if isinstance(entry, str) else Content((Path("/any/file"),), ("f",), 1)

    planner, plans = Planner(inspect), {}
    for number, (sweep, chains) in enumerate(SWEEPS.items()):
        for chain in range(chains):
            changes = {
                "name": f"{sweep}-{chain:02d}-30k",
                "seeds.shuffle": number,
                "phases.mlm.tokens": 1024 * (chain + 1 + 50 * number),
                "benchmark.seeds": [1, 2, 3],
            }
            plan = planner.plan(make_recipe(changes))
            plans[plan.chain] = (sweep, plan)
    return plans


def write_week(workspace: Workspace, now_s: float | None = None) -> list[str]:
    """Returns the names of the chains. The progress of each depends on its number."""
    now_s, done = now_s or time.time(), set[str]()
    workspace.create()
    past, plans = Past(workspace), chain_plans()
    for number, (name, (sweep, plan)) in enumerate(plans.items()):
        workspace.chain(name).mkdir()
        content = plan.to_json() | {
            "sweep": sweep,
            "project": "abc",
            "cluster": "jean-zay",
            "site": SITE,
            "poll_s": 60.0,
        }
        (workspace.chain(name) / "plan.json").write_text(json.dumps(content))
        _live(workspace, past, plan.stages, number, now_s, done)
    past.write()
    return list(plans)


def _live(workspace: Workspace, past: Past, stages: Sequence[Stage], number: int, now_s: float, done: set[str]) -> None:
    """`number` chooses how many of the stages are done and the state of the next one."""
    reached = (number * 7) % (len(stages) + 1)
    start_s = now_s - 150 * HOUR_S + number * 2 * HOUR_S
    for index, stage in enumerate(stages[: reached + 1]):
        if stage.id in done:
            continue
        began_s = min(start_s + index * 6 * HOUR_S, now_s - 3 * HOUR_S)
        if index < reached:
            done.add(stage.id)
            past.attempt(stage.id, began_s, 2 * HOUR_S, gpus=4, cpus=96, cluster="jean-zay")
            workspace.output(stage.id).mkdir(parents=True)
            workspace.manifest(stage.id).write_text("{}")
        elif number % 5 == 0:
            past.attempt(stage.id, began_s, HOUR_S, outcome="failed", gpus=4, cpus=96)
            workspace.stage(stage.id).mkdir(parents=True, exist_ok=True)
            workspace.failure(stage.id).write_text('{"reason": "the gradient was not finite in 20 steps in a row"}')
        elif number % 5 == 1:
            past.attempt(stage.id, began_s, HOUR_S, outcome="interrupted", gpus=4, cpus=96)
        elif number % 5 < 4:
            past.attempt(stage.id, now_s - 5.0, None, gpus=4, cpus=96, cluster="jean-zay")
