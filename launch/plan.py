"""`detour plan`: what a recipe would do, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from detour.accounting.history import LedgerHistory
from detour.ledger.state import load_state
from detour.ledger.workspace import Workspace
from detour.plan.build import Plan
from detour.plan.stage import Stage
from detour.recipe.loading import load_cluster
from detour.recipe.models import Phase, Recipe
from detour.recipe.quantities import format_count
from launch.options import json_option, overrides_argument, recipe_argument, workspace_option
from launch.planning import load_plan
from launch.pricing import price_json, price_stages, render_price


@click.command(help="Show what a recipe or a sweep would do and what it would cost.")
@recipe_argument
@overrides_argument
@workspace_option
@click.option("--cluster", help="Price the plan with this cluster profile: a name or a file.")
@click.option("--gpus", type=click.IntRange(1), help="GPUs a training asks for.  [default: a node's]")
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    cluster: str | None,
    gpus: int | None,
    as_json: bool,
) -> None:
    """Plan, and price where a cluster is named; nothing is written."""
    loaded, plan = load_plan(recipe, overrides)
    place = Workspace.find(workspace)
    priced = None
    if cluster:
        profile = load_cluster(cluster)
        priced = (*price_stages(plan.stages, profile, LedgerHistory(place, load_state(place)[0]), gpus), profile)
    if as_json:
        data = plan.to_json() | ({"price": price_json(*priced[:2])} if priced else {})
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
        return
    click.echo(render(loaded, plan, place))
    if priced:
        click.echo("\n" + render_price(*priced))


def render(recipe: Recipe, plan: Plan, workspace: Workspace) -> str:
    """The chain as a tree that fits 100 columns; evaluations of one task share a line."""
    lines = [f"{plan.chain}" + (f"  {recipe.description}" if recipe.description else "")]
    rows = list(_rows(recipe, plan, workspace))
    width, detail_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for index, (label, detail, stage_id, state) in enumerate(rows):
        branch = "└─" if index == len(rows) - 1 else "├─"
        lines.append(f"{branch} {label:<{width}}  {detail:<{detail_width}}  {stage_id:<25} {state}".rstrip())
    done = sum(workspace.is_done(stage.id) for stage in plan.stages)
    lines.append(f"{len(plan.stages)} stages: {done} done, {len(plan.stages) - done} to run.")
    lines += [f"not found here: {missing}" for missing in plan.missing]
    if plan.missing:
        lines.append("The keys above are provisional until these files are there.")
    return "\n".join(lines)


def _rows(recipe: Recipe, plan: Plan, workspace: Workspace) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    phases = {f"pretrain {phase.name}": phase for phase in recipe.phases}
    evaluations: dict[str, list[Stage]] = {}
    for stage in plan.stages:
        if stage.kind == "evaluate":
            task = stage.settings["task"]["name"]
            if task in evaluations:
                evaluations[task].append(stage)
                continue
            evaluations[task] = [stage]
        rows.append((stage.label, _detail(stage, plan, phases), stage.id, _state(workspace, [stage])))
    return [_with_seeds(row, evaluations, workspace) for row in rows]


def _with_seeds(
    row: tuple[str, str, str, str], evaluations: dict[str, list[Stage]], workspace: Workspace
) -> tuple[str, str, str, str]:
    for task, stages in evaluations.items():
        if row[2] == stages[0].id:
            settings = stages[0].settings["task"]
            length = f"{settings['epochs']} epochs" if settings["epochs"] else f"{settings['steps']:,} steps"
            detail = f"{settings['type'].replace('_', ' ')}, {len(stages)} seeds, {length}"
            ids = stages[0].id if len(stages) == 1 else f"{len(stages)} stages"
            return f"evaluate {task}", detail, ids, _state(workspace, stages)
    return row


def _detail(stage: Stage, plan: Plan, phases: dict[str, Phase]) -> str:
    if stage.kind == "prepare":
        return f"{len(stage.settings['sources'])} source(s), rows of {stage.settings['sequence_length']:,} tokens"
    if stage.label in phases:
        phase, steps = phases[stage.label], plan.phases[phases[stage.label].name]
        warmup = f", {steps.warmup_steps:,} warm-up" if steps.warmup_steps else ""
        return f"{phase.objective}, {format_count(phase.tokens)} tokens = {steps.steps:,} steps{warmup}"
    return {
        "promote": "verified checkpoint",
        "export": f"transformers folder, {stage.settings.get('dtype')}",
        "summarize": f"{len(stage.inputs)} results",
    }.get(stage.kind, "")


def _state(workspace: Workspace, stages: list[Stage]) -> str:
    done = sum(workspace.is_done(stage.id) for stage in stages)
    if done == len(stages):
        return "done"
    return "" if done == 0 else f"{done} of {len(stages)} done"
