"""`detour plan`: what a recipe or a sweep would do and what it would cost, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from detour.accounting.energy import Band
from detour.budgets.reserve import asked_for, facts_of, outlooks
from detour.config.loading import load_cluster
from detour.launch.options import json_option, overrides_argument, recipe_argument, workspace_option
from detour.launch.text.plan_tree import WIDTH, corpus_in_words, cut, in_words, phase_in_words, render_tree
from detour.launch.text.price import (
    PlanPrice,
    band_json,
    hours_in_words,
    price_json,
    price_plan,
    render_price,
    wrapped,
)
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import failures_in_words
from detour.orchestration.planning import Planned, load_plans
from detour.orchestration.progress import STANDINGS, Standing, count, standings
from detour.planning.build import Plan
from detour.planning.outputs import planned_outputs
from detour.planning.stage import Stage
from detour.pricing.history import LedgerHistory, finished_stages
from detour.pricing.totals import gpu_hours_of

ID_WIDTH = 26
"""`summarize-` and a key of 16 digits."""
MISSING_SHOWN = 6


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
    profile = load_cluster(cluster) if cluster else None
    planned = load_plans(recipe, overrides)
    place = Workspace.find(workspace)
    view = LedgerView(place)
    stages = planned.shared.stages.values()
    known = standings(view, stages)
    price = None
    if profile:
        history = LedgerHistory(finished_stages(place, view.state), profile.name)
        price = price_plan(stages, profile, history, gpus)
    if as_json:
        click.echo(orjson.dumps(_to_json(planned, place, known, price), option=orjson.OPT_INDENT_2))
        return
    click.echo(render(planned, known))
    failed = [stage for stage in stages if known[stage.id] == "failed"]
    for line in failures_in_words(place, planned.plans, failed):
        click.echo(line)
    if price:
        click.echo("\n" + render_price(price))
        left = [stage for stage in price.stages if known[stage.id] in ("new", "failed")]
        facts = facts_of(price.cluster, None, None if planned.sweep else planned.name, planned.sweep)
        asked = asked_for(left, price.prices, price.cluster, facts)
        for line in (*_shares(planned, left, price), *outlooks(place, asked)):
            click.echo(line)


def render(planned: Planned, known: Mapping[str, Standing]) -> str:
    """The chains as a tree that fits 100 columns, and what it comes to."""
    lines = wrapped(f"{planned.name}: {planned.description}" if planned.description else planned.name, "")
    tree = render_chain(planned.plans[0], known) if planned.sweep is None else render_tree(planned.plans, known)
    return "\n".join([*lines, *tree, *_counts(planned, known), *_missing(planned)])


def render_chain(plan: Plan, known: Mapping[str, Standing]) -> list[str]:
    """One line a stage; evaluations of one task share one."""
    groups: dict[str, list[Stage]] = {}
    for stage in plan.stages:
        groups.setdefault(_without_seed(stage), []).append(stage)
    states = [in_words(count(group, known)) for group in groups.values()]
    label_width, state_width = (max(map(len, texts)) for texts in (groups, states))
    room = WIDTH - label_width - ID_WIDTH - state_width - 9
    lines = []
    for index, ((label, group), state) in enumerate(zip(groups.items(), states, strict=True)):
        branch = "└─" if index == len(groups) - 1 else "├─"
        ids = group[0].id if len(group) == 1 else f"{len(group)} stages"
        detail = cut(_detail(group), room)
        lines.append(f"{branch} {label:<{label_width}}  {detail:<{room}}  {ids:<{ID_WIDTH}}  {state}".rstrip())
    return lines


def _without_seed(stage: Stage) -> str:
    return f"evaluate {stage.settings['task']['name']}" if stage.kind == "evaluate" else stage.label


def _detail(group: Sequence[Stage]) -> str:
    stage = group[0]
    if stage.kind == "prepare":
        return corpus_in_words(stage)
    if stage.kind == "pretrain":
        return phase_in_words(stage)
    if stage.kind == "evaluate":
        task = stage.settings["task"]
        length = f"{task['epochs']} epochs" if task["epochs"] else f"{task['steps']:,} steps"
        return f"{task['type'].replace('_', ' ')}, {len(group)} seeds, {length}"
    return {
        "promote": "verified checkpoint",
        "export": f"transformers folder, {stage.settings.get('dtype')}",
        "summarize": f"{len(stage.inputs)} results",
    }.get(stage.kind, "")


def _counts(planned: Planned, known: Mapping[str, Standing]) -> Iterator[str]:
    shared = planned.shared
    counted = count(shared.stages.values(), known)
    told = ", ".join(f"{counted[word]:,} {word}" for word in STANDINGS if counted[word])
    if planned.sweep is None:
        yield f"{len(shared.stages)} stages: {told}."
        return
    yield f"{len(planned.plans):,} chains need {shared.needed:,} stages; {shared.saved:,} are spared by sharing."
    yield f"{len(shared.stages):,} stages: {told}."
    kinds: dict[str, list[int]] = {}
    for stage_id, stage in shared.stages.items():
        both = kinds.setdefault(stage.kind, [0, 0])
        both[0] += 1
        both[1] += shared.uses[stage_id]
    yield from wrapped("; ".join(f"{kind} {once:,} for {needed:,}" for kind, (once, needed) in kinds.items()) + ".", "")


def _missing(planned: Planned) -> Iterator[str]:
    missing = planned.shared.missing
    for entry in missing[:MISSING_SHOWN]:
        yield from wrapped(f"not found here: {entry}", "")
    if len(missing) > MISSING_SHOWN:
        yield f"... and {len(missing) - MISSING_SHOWN} more; --json names them all"
    if missing:
        yield "The keys above are provisional until these files are there; priced it can be, run it cannot."


def _shares(planned: Planned, left: Sequence[Stage], price: PlanPrice) -> Iterator[str]:
    """What sharing spares, and what is left to pay where something is done already."""
    if planned.sweep is not None and price.cluster.gpu is not None:
        apart, together = gpu_hours_of(planned.shared.uses, price.prices), price.whole.gpu_hours
        yield f"GPU-h with sharing     {hours_in_words(together)}"
        yield f"GPU-h without sharing  {hours_in_words(apart)}"
        yield f"GPU-h that it spares   {hours_in_words(_minus(apart, together))}"
    if price.cluster.gpu is not None and len(left) < len(price.stages):
        hours = gpu_hours_of({stage.id: 1 for stage in left}, price.prices)
        yield f"GPU-h still to run     {hours_in_words(hours)}, for {len(left):,} stages not done or in flight"


def _minus(whole: Band, part: Band) -> Band:
    return Band(whole.low - part.low, whole.expected - part.expected, whole.high - part.high)


def _to_json(
    planned: Planned, place: Workspace, known: Mapping[str, Standing], price: PlanPrice | None
) -> dict[str, Any]:
    """A recipe's plan as it is; a sweep's chains by the ids of their stages, and every distinct stage once."""
    shared = planned.shared
    standing = {stage_id: word for stage_id, word in known.items() if word != "new"}
    outputs = {stage_id: planned_outputs(stage, place.output) for stage_id, stage in shared.stages.items()}
    more: dict[str, Any] = {"outputs": outputs, "standing": standing}
    if price:
        more["price"] = price_json(price)
    if planned.sweep is None:
        return planned.plans[0].to_json() | more
    if price:
        more["price"]["gpu_hours_without_sharing"] = band_json(gpu_hours_of(shared.uses, price.prices))
    return {
        "sweep": planned.sweep,
        "description": planned.description,
        "needed": shared.needed,
        "saved": shared.saved,
        "missing": list(shared.missing),
        "chains": [
            {**plan.to_json(stages=False), "stages": [stage.id for stage in plan.stages]} for plan in planned.plans
        ],
        "stages": {stage_id: stage.to_json() for stage_id, stage in shared.stages.items()},
        "uses": {stage_id: uses for stage_id, uses in shared.uses.items() if uses > 1},
        **more,
    }
