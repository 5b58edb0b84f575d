"""A plan as a tree that fits the screen, with its totals and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detour.accounting.energy import Band
from detour.grouping import grouped
from detour.launch.text.plan_tree import corpus_in_words, in_words, phase_in_words, render_tree
from detour.launch.text.price import band_json, hours_in_words, price_json
from detour.ledger.workspace import Workspace
from detour.orchestration.plans import Planned, obstacles
from detour.orchestration.progress import PROGRESS, Progress, count
from detour.planning.outputs import planned_outputs
from detour.planning.plan import Plan
from detour.planning.stage import EvaluateStage, ExportStage, PrepareStage, PretrainStage, PromoteStage, Stage
from detour.pricing.plan_price import PlanPrice
from detour.pricing.totals import gpu_hours_of
from detour.text import WIDTH, counted, cut, wrapped

ID_WIDTH = 26
"""`summarize-` and a key of 16 digits."""
MISSING_SHOWN = 6


def render_plan(planned: Planned, known: Mapping[str, Progress], width: int = WIDTH) -> str:
    """The chains as a tree, with totals; no line is longer than `width`, which must be 80 or more."""
    title = f"{planned.name}: {planned.description}" if planned.description else planned.name
    is_sweep = planned.sweep is not None
    tree = render_tree(planned.plans, known, width) if is_sweep else render_chain(planned.plans[0], known, width)
    return "\n".join(
        [*wrapped(title, "", width), *tree, *_counts(planned, known, width), *_not_runnable(planned, width)]
    )


def render_chain(plan: Plan, known: Mapping[str, Progress], width: int = WIDTH) -> list[str]:
    """One line per stage, or per task of evaluations. Ids of stages are left out on a narrow screen."""
    groups = grouped((stage.name, stage) for stage in plan.stages)
    states = [in_words(count(group, known)) for group in groups.values()]
    label_width, state_width = (max(map(len, texts)) for texts in (groups, states))
    id_width = ID_WIDTH + 2 if width >= WIDTH else 0
    room = width - label_width - id_width - state_width - 7
    lines = []
    for index, ((label, group), state) in enumerate(zip(groups.items(), states, strict=True)):
        branch = "└─" if index == len(groups) - 1 else "├─"
        ids = (group[0].id if len(group) == 1 else f"{len(group)} stages") if id_width else ""
        detail = cut(_detail(group), room)
        lines.append(f"{branch} {label:<{label_width}}  {detail:<{room}}  {ids:<{id_width}}{state}".rstrip())
    return lines


def _detail(group: Sequence[Stage]) -> str:
    match group[0]:
        case PrepareStage() as stage:
            return corpus_in_words(stage)
        case PretrainStage() as stage:
            return phase_in_words(stage)
        case PromoteStage():
            return "verified checkpoint"
        case ExportStage(settings=settings):
            return f"transformers folder, {settings.dtype}"
        case EvaluateStage(settings=settings):
            task = settings.task
            length = counted(task.epochs, "epoch") if task.epochs else counted(task.steps or 0, "step")
            return f"{task.type.replace('_', ' ')}, {counted(len(group), 'seed')}, {length}"
        case stage:
            return counted(len(stage.inputs), "result")


def _counts(planned: Planned, known: Mapping[str, Progress], width: int) -> Iterator[str]:
    shared = planned.shared
    by_progress = count(shared.stages.values(), known)
    progress = ", ".join(f"{by_progress[word]:,} {word}" for word in PROGRESS if by_progress[word])
    if planned.sweep is None:
        yield f"{len(shared.stages):,} stages: {progress}."
        return
    need = "chain needs" if len(planned.plans) == 1 else "chains need"
    yield f"{len(planned.plans):,} {need} {shared.needed:,} stages; sharing saves {shared.saved:,}."
    yield f"{len(shared.stages):,} stages: {progress}."
    kinds: dict[str, list[int]] = {}
    for stage_id, stage in shared.stages.items():
        both = kinds.setdefault(stage.kind, [0, 0])
        both[0] += 1
        both[1] += shared.uses[stage_id]
    sums = "; ".join(f"{kind} {once:,} for {needed:,}" for kind, (once, needed) in kinds.items())
    yield from wrapped(f"{sums}.", "", width)


def _not_runnable(planned: Planned, width: int) -> Iterator[str]:
    missing = planned.shared.missing
    others = [] if missing else [*obstacles(planned)]
    for entry in missing[:MISSING_SHOWN]:
        yield from wrapped(f"not found here: {entry}", "", width)
    if len(missing) > MISSING_SHOWN:
        yield f"... and {len(missing) - MISSING_SHOWN} more; --json names them all"
    for obstacle in others:
        yield from wrapped(obstacle, "", width)
    if missing:
        inputs = f"{counted(len(missing), 'input')} {'is' if len(missing) == 1 else 'are'} missing"
        yield f"This plan can be priced but not run: {inputs}."
        yield "Relative paths start at the folder of the file that contains them."
        yield "Keys that depend on a missing input are provisional."
    elif others:
        yield "This plan can be priced but not run."


def shares_lines(planned: Planned, left: Sequence[Stage], price: PlanPrice) -> Iterator[str]:
    """What sharing saves, and what is left to pay if something is done already."""
    if planned.sweep is not None and price.cluster.gpu is not None:
        apart, together = gpu_hours_of(planned.shared.uses, price.prices), price.whole.gpu_hours
        yield f"GPU-h with sharing     {hours_in_words(together)}"
        yield f"GPU-h without sharing  {hours_in_words(apart)}"
        yield f"GPU-h saved by sharing {hours_in_words(_minus(apart, together))}"
    if price.cluster.gpu is not None and len(left) < len(price.stages):
        hours = gpu_hours_of({stage.id: 1 for stage in left}, price.prices)
        yield f"GPU-h still to run     {hours_in_words(hours)}, for {len(left):,} stages not done or in flight"


def _minus(whole: Band, part: Band) -> Band:
    return Band(whole.low - part.low, whole.expected - part.expected, whole.high - part.high)


def plan_json(
    planned: Planned, workspace: Workspace, known: Mapping[str, Progress], price: PlanPrice | None
) -> dict[str, Any]:
    """A recipe's plan as it is; a sweep's chains by the ids of their stages, and every distinct stage once."""
    shared = planned.shared
    standing = {stage_id: word for stage_id, word in known.items() if word != "new"}
    outputs = {stage_id: planned_outputs(stage, workspace.output) for stage_id, stage in shared.stages.items()}
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
