"""`detour submit`: puts what is missing of a chain into Slurm, exactly once, and returns; nothing stays behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from detour.accounting.history import LedgerHistory, finished_stages
from detour.errors import UserError
from detour.ledger.journal import Journal
from detour.ledger.state import load_state
from detour.ledger.workspace import Workspace
from detour.plan.build import Plan
from detour.recipe.cluster import Cluster
from detour.recipe.loading import load_cluster
from detour.recipe.quantities import format_duration, parse_duration_s
from detour.scheduler.commands import Slurm
from detour.scheduler.dependency import After
from detour.scheduler.requests import JobRequest
from detour.scheduler.submission import Submission, Submitter
from detour.scheduler.submission_script import submission_script
from detour.scheduler.tags import Tag, workspace_id
from launch.chain_files import write_chain
from launch.code_snapshot import take_code_snapshot
from launch.options import json_option, overrides_argument, recipe_argument, workspace_option
from launch.planning import load_plan
from launch.pricing import price_plan, render_price
from launch.requests import Wishes, job_requests
from launch.run import check_runnable
from launch.slurm_site import command_journal, room_left, script_style, submission_folder, submitter, submitting

INTERRUPTED_EXIT_CODE = 130


class Seconds(click.ParamType[int]):
    """`20h`, `90m`, `1h30`, `02:00:00`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            parsed = parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        assert isinstance(parsed, int)
        return parsed


@click.command(help="Submit what is missing of a recipe to Slurm, exactly once.")
@recipe_argument
@overrides_argument
@workspace_option
@click.option("--cluster", required=True, help="Cluster profile: a name (`detour clusters`) or a file.")
@click.option("--qos", help="QOS of GPU jobs.  [default: the profile's]")
@click.option("--account", help="Account of GPU jobs.  [default: the profile's]")
@click.option("--gpus", type=click.IntRange(1), help="GPUs a training asks for.  [default: a node's]")
@click.option("--time", "wall_s", type=Seconds(), help="Longest segment of a training, as 20h.")
@click.option("--segments", type=click.IntRange(1), help="Segments a training.  [default: by its price]")
@click.option("--parallel", type=click.IntRange(1), help="Evaluations at once.")
@click.option("--dry-run", is_flag=True, help="Print every batch script and the price; send nothing.")
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    cluster: str,
    qos: str | None,
    account: str | None,
    gpus: int | None,
    wall_s: int | None,
    segments: int | None,
    parallel: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run again after any kill or refusal, it completes what is missing and sends nothing twice."""
    loaded, plan = load_plan(recipe, overrides)
    check_runnable(loaded, plan)
    profile = load_cluster(cluster)
    if profile.scheduler != "slurm":
        raise UserError(f"cluster {profile.name} has no Slurm: use `detour run`")
    place = Workspace.find(workspace)
    wishes = Wishes(qos, account, wall_s, segments, parallel)
    order = _order(place, plan, profile, wishes, gpus)
    if dry_run:
        _print_scripts(place, profile, order)
        return
    if not order.requests:
        click.echo(f"{plan.chain}: nothing to submit, all {len(plan.stages)} stages are done in {place.root}")
        return
    place.create()
    write_chain(place, plan, profile)
    code = take_code_snapshot(place)
    slurm = Slurm()
    with submitting(place), command_journal(place) as journal:
        room = room_left(profile, order.requests[0].resources.qos if qos is None else qos, slurm)
        make = lambda: submitter(place, journal, slurm, script_style(place, profile, code), room)  # noqa: E731
        submission = _submit(make, order.requests)
        _record(journal, plan, order.requests, submission, code)
    _tell(plan, order, submission, slurm, as_json)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be submitted, and what it will cost."""

    requests: list[JobRequest]
    price: str


def _order(place: Workspace, plan: Plan, profile: Cluster, wishes: Wishes, gpus: int | None) -> Order:
    done = {stage.id for stage in plan.stages if place.is_done(stage.id)}
    missing = [stage for stage in plan.stages if stage.id not in done]
    history = LedgerHistory(finished_stages(place, load_state(place)[0]), profile.name)
    price = price_plan(missing, profile, history, gpus)
    requests = job_requests(missing, price.prices, profile, wishes, done)
    return Order(requests, render_price(price) if missing else "")


def _submit(make: Callable[[], Submitter], requests: list[JobRequest]) -> Submission:
    """Ctrl-C asks what to do with what was sent already; nothing of it has been able to run yet."""
    try:
        return make().submit(requests)
    except KeyboardInterrupt:
        click.echo("\nInterrupted: what was sent so far is held, and nothing of it runs.", err=True)
    if not sys.stdin.isatty() or click.confirm(
        "Finish the submission? (no: withdraw all of it)", default=True, err=True
    ):
        return make().submit(requests)
    ids = make().withdraw({request.unit for request in requests})
    click.echo(f"Withdrawn: {len(ids)} job(s). Nothing of this submission is left in Slurm.", err=True)
    sys.exit(INTERRUPTED_EXIT_CODE)


def _record(journal: Journal, plan: Plan, requests: list[JobRequest], submission: Submission, code: Path) -> None:
    """Which job each stage is in, for those who read the ledger; the submission itself does not need it."""
    jobs: dict[str, list[str]] = {}
    for slot, job_id in submission.jobs.items():
        jobs.setdefault(slot.unit, []).append(job_id)
    for request in requests:
        for index, task in enumerate(request.tasks):
            for job_id in jobs.get(request.unit, ()):
                job = f"{job_id}_{index}" if request.is_array else job_id
                for stage in task:
                    journal.append("submit.stage", stage=stage, job=job, sync=False)
    journal.append("chain.submitted", chain=plan.chain, code=code.name, jobs=sorted(submission.jobs.values()))


def _print_scripts(place: Workspace, profile: Cluster, order: Order) -> None:
    style = script_style(place, profile, None)
    for request in order.requests:
        tag = Tag(workspace_id(place.root), request.unit, 1, "dry-run")
        waits = " ".join(f"<{stage}>" for stage in request.after)
        dependency = After("afterok", waits) if waits else None
        segments = f", {request.segments} segments" if request.segments > 1 else ""
        click.echo(f"### {request.label}{segments}")
        click.echo(submission_script(request, tag, dependency, style, submission_folder(place, request.unit)))
    click.echo(order.price or "nothing to submit: every stage is done")


def _tell(plan: Plan, order: Order, submission: Submission, slurm: Slurm, as_json: bool) -> None:
    if as_json:
        data = {
            "chain": plan.chain,
            "jobs": {str(slot): job_id for slot, job_id in submission.jobs.items()},
            "in_flight": list(submission.in_flight),
            "deferred": [request.label for request in submission.deferred],
            "remarks": list(submission.remarks),
            "calls": dict(slurm.calls),
        }
        click.echo(json.dumps(data, indent=1))
        return
    for remark in submission.remarks:
        click.echo(f"note: {remark}")
    by_unit: dict[str, list[str]] = {}
    for slot, job_id in submission.jobs.items():
        by_unit.setdefault(slot.unit, []).append(job_id)
    for request in order.requests:
        if request.unit in by_unit:
            ids = ", ".join(by_unit[request.unit])
            tasks = f" ({len(request.tasks)} tasks)" if request.is_array else ""
            click.echo(f"{request.label:<32} job {ids}{tasks}, up to {format_duration(request.wall_s)}")
    if submission.in_flight:
        click.echo(f"{len(submission.in_flight)} stages were on their way already and are joined.")
    if submission.deferred:
        click.echo(f"{len(submission.deferred)} jobs are past the submit limit: the same command sends them later.")
    click.echo(order.price)
    click.echo(f"{plan.chain} is Slurm's now; look with `detour status {plan.chain}`.")
