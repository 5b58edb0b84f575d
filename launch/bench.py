"""`detour bench`: how fast a recipe trains on the device of this machine."""

from __future__ import annotations

from pathlib import Path

import click

import detour
from detour.config.cluster import Cluster
from detour.errors import UserError
from detour.launch.cluster_option import cluster_option
from detour.launch.options import json_option, overrides_argument, recipe_argument, written_workspace_option
from detour.launch.text.bench import bench_json, device_line, speed_lines
from detour.launch.text.screen import show, show_json
from detour.ledger.workspace import Workspace
from detour.orchestration.bench import keep, measured
from detour.planning.stage import PretrainStage
from detour.speed.result import BenchSettings, Device, Speed


@click.command()
@recipe_argument
@overrides_argument
@written_workspace_option
@cluster_option("Profile of this machine, whose prices then use the result.")
@click.option("--phase", "phases", multiple=True, help="Only this phase; may be repeated.")
@click.option("--steps", type=click.IntRange(1), default=10, show_default=True, help="Steps of each loop.")
@click.option("--rows", type=click.IntRange(1), help="Rows per step.  [default: the recipe's batch]")
@click.option("--microbatch", type=click.IntRange(1), help="Rows per forward pass.  [default: the recipe's]")
@click.option("--no-peers", is_flag=True, help="Leave out transformers' own loops.")
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workspace: Workspace,
    cluster: Cluster | None,
    phases: tuple[str, ...],
    steps: int,
    rows: int | None,
    microbatch: int | None,
    no_peers: bool,
    as_json: bool,
) -> None:
    """Measure how fast a recipe trains on the device of this machine.

    Shows tokens per second, share of the peak, time by part of the step, memory and energy, next to plain loops of
    transformers on the same rows. Weights and text are random: neither affects the speed.
    """
    stages = detour.plan(recipe, *overrides).shared.stages.values()
    by_phase = {stage.phase: stage for stage in stages if isinstance(stage, PretrainStage)}
    if unknown := set(phases) - set(by_phase):
        raise UserError(f"no phase {min(unknown)!r}; available: {', '.join(by_phase)}")
    by_phase = {phase: stage for phase, stage in by_phase.items() if not phases or phase in phases}
    device, pairs = None, []
    for figure in measured(list(by_phase.values()), BenchSettings(steps, rows, microbatch, not no_peers)):
        if isinstance(figure, Speed):
            pairs.append((by_phase[figure.phase], figure))
            if not as_json:
                show(*speed_lines(figure, [speed for _, speed in pairs]))
        else:
            device = figure
            if not as_json:
                show(device_line(device))
    if as_json:
        show_json(bench_json(device, [speed for _, speed in pairs]))
    if cluster is not None and isinstance(device, Device):
        keep(workspace, cluster.name, device, pairs)
