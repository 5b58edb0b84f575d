"""`detour submit`: puts what is missing of a chain into Slurm, exactly once, and returns; nothing stays behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from detour.budgets.book import Asked
from detour.budgets.caps import load_budgets
from detour.budgets.reserve import asked_for, facts_of, outlooks, reserving
from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.config.quantities import format_duration, parse_duration_s
from detour.errors import SchedulerUnavailable, StageFailed, UserError
from detour.launch.options import (
    json_option,
    over_budget_option,
    overrides_argument,
    recipe_argument,
    written_workspace_option,
)
from detour.launch.run import check_runnable
from detour.launch.text.price import price_plan, render_price
from detour.ledger.journal import Journal
from detour.ledger.state import load_state
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from detour.orchestration.code_snapshot import take_code_snapshot
from detour.orchestration.failures import clear_failures, failed_stages, failures_in_words, with_dependants
from detour.orchestration.planning import load_plans
from detour.orchestration.requests import Wishes, job_requests
from detour.orchestration.slurm import (
    command_journal,
    script_style,
    submission_folder,
    submit_limit,
    submitter,
    submitting,
)
from detour.orchestration.waves import Continuation, last_jobs, send_continuation
from detour.planning.build import Plan
from detour.planning.stage import Stage
from detour.pricing.history import LedgerHistory, finished_stages
from detour.pricing.price import Price
from detour.scheduler.commands import Slurm, SubmissionRefused
from detour.scheduler.dependency import After
from detour.scheduler.requests import JobRequest
from detour.scheduler.submission import Submission, Submitter
from detour.scheduler.submission_script import submission_script
from detour.scheduler.tags import Tag, workspace_id

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


@click.command(help="Submit what is missing of a recipe or a sweep to Slurm, exactly once.")
@recipe_argument
@overrides_argument
@written_workspace_option
@click.option("--cluster", required=True, help="Cluster profile: a name (`detour clusters`) or a file.")
@click.option("--qos", help="QOS of GPU jobs.  [default: the profile's]")
@click.option("--account", help="Account of GPU jobs.  [default: the profile's]")
@click.option("--gpus", type=click.IntRange(1), help="GPUs a training asks for.  [default: a node's]")
@click.option("--time", "wall_s", type=Seconds(), help="Longest segment of a training, as 20h.")
@click.option("--segments", type=click.IntRange(1), help="Segments a training.  [default: by its price]")
@click.option("--parallel", type=click.IntRange(1), help="Evaluations at once.")
@click.option("--retry", is_flag=True, help="Send stages again that failed for good.")
@over_budget_option
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
    retry: bool,
    why_over: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run again after any kill or refusal, it completes what is missing and sends nothing twice."""
    planned = load_plans(recipe, overrides)
    check_runnable(planned.recipes, planned.shared.missing)
    profile = load_cluster(cluster)
    if profile.scheduler != "slurm":
        raise UserError(f"cluster {profile.name} has no Slurm: use `detour run`")
    place = Workspace.find(workspace)
    wishes = Wishes(qos, account, wall_s, segments, parallel)
    failed = failed_stages(place, planned.shared.stages.values())
    for line in failures_in_words(place, planned.plans, failed, told_to=retry):
        click.echo(line, err=as_json)
    left_out, retried = ([], failed) if retry else (failed, [])
    order = make_order(place, planned.name, planned.plans, profile, wishes, gpus, planned.sweep, left_out)
    order = replace(order, retried=tuple(retried))
    if dry_run:
        _print_scripts(place, order)
    elif order.requests:
        place.create()
        write_chains(place, planned.plans, profile, order.prices)
        send(place, order, as_json, why_over)
    elif failed:
        raise StageFailed(f"{order.name}: nothing to submit beside what failed and what waits for it")
    else:
        click.echo(f"{order.name}: nothing to submit, all {len(planned.shared.stages)} stages are done in {place.root}")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be submitted for one chain, or for the chains of a sweep, and what it will cost."""

    name: str
    chains: tuple[str, ...]
    cluster: Cluster
    requests: list[JobRequest]
    asked: Asked
    """What it wants of the budgets."""
    prices: Mapping[str, Price]
    price: str
    continuation: Continuation
    """To go on with where a submit limit cuts it."""
    retried: tuple[Stage, ...] = ()
    """Stages that failed for good, and are cleared once the budgets hold all of it."""


def make_order(
    place: Workspace,
    name: str,
    plans: Sequence[Plan],
    cluster: Cluster,
    wishes: Wishes,
    gpus: int | None,
    sweep: str | None = None,
    left_out: Sequence[Stage] = (),
) -> Order:
    """The jobs for what is not done yet, each stage once, whichever chains need it, without those `left_out` and all
    that waits for them.
    """
    stages = {stage.id: stage for plan in plans for stage in plan.stages}
    done = {stage_id for stage_id in stages if place.is_done(stage_id)}
    settled = done | with_dependants(stages.values(), left_out)
    missing = [stage for stage_id, stage in stages.items() if stage_id not in settled]
    history = LedgerHistory(finished_stages(place, load_state(place)[0]), cluster.name)
    price = price_plan(missing, cluster, history, gpus)
    requests = job_requests(missing, price.prices, cluster, wishes, done)
    chains = tuple(plan.chain for plan in plans)
    facts = facts_of(cluster, wishes.account, chains[0] if len(chains) == 1 else None, sweep)
    asked = asked_for(missing, price.prices, cluster, facts)
    ids = {plan.chain: tuple(stage.id for stage in plan.stages) for plan in plans}
    continuation = Continuation(name, sweep, ids, cluster, wishes, gpus, len(done))
    told = render_price(price) if missing else ""
    return Order(name, chains, cluster, requests, asked, price.prices, told, continuation)


def send(place: Workspace, order: Order, as_json: bool, why_over: str | None = None) -> None:
    """Into the queue, exactly once, under the workspace's claim, if the budgets hold it. Raises BudgetRefused."""
    slurm = Slurm()
    style = script_style(place, order.cluster, take_code_snapshot(place))
    with submitting(place), command_journal(place) as journal:
        limit = submit_limit(order.cluster, {request.resources.qos for request in order.requests})
        with reserving(place, journal, load_budgets(), order.asked, why_over) as held:
            if order.retried:
                clear_failures(place, order.name, order.retried)
            kept_free = int(order.cluster.compute_nodes_submit)  # for the job that sends the next wave
            submission = _submit(lambda: submitter(place, journal, slurm, style, limit, kept_free), order.requests)
            held.commit()
        submission = replace(submission, remarks=(*held.remarks, *submission.remarks))
        _record(journal, order, submission)
        next_wave = None
        if submission.deferred and order.cluster.compute_nodes_submit:
            continuation = replace(order.continuation, why_over=why_over)
            ends = last_jobs(order.requests, submission.jobs)
            try:
                next_wave = send_continuation(place, journal, slurm, style, continuation, ends)
            except (SchedulerUnavailable, SubmissionRefused) as error:
                remark = f"nothing sends the next wave by itself: {error}"
                submission = replace(submission, remarks=(*submission.remarks, remark))
    _tell(order, submission, next_wave, slurm, as_json)


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


def _record(journal: Journal, order: Order, submission: Submission) -> None:
    """Which job each stage is in, for those who read the ledger; the submission itself does not need it."""
    jobs: dict[str, list[str]] = {}
    for slot, job_id in submission.jobs.items():
        jobs.setdefault(slot.unit, []).append(job_id)
    for request in order.requests:
        for index, task in enumerate(request.tasks):
            for job_id in jobs.get(request.unit, ()):
                job = f"{job_id}_{index}" if request.is_array else job_id
                for stage in task:
                    journal.append("submit.stage", stage=stage, job=job, sync=False)
    for chain in order.chains:
        journal.append("chain.submitted", chain=chain, cluster=order.cluster.name, sync=False)


def _print_scripts(place: Workspace, order: Order) -> None:
    style = script_style(place, order.cluster, None)
    for request in order.requests:
        tag = Tag(workspace_id(place.root), request.unit, 1, "dry-run")
        waits = " ".join(f"<{stage}>" for stage in request.after)
        dependency = After("afterok", waits) if waits else None
        segments = f", {request.segments} segments" if request.segments > 1 else ""
        click.echo(f"### {request.label}{segments}")
        click.echo(submission_script(request, tag, dependency, style, submission_folder(place, request.unit)))
    click.echo(order.price or "nothing to submit: every stage is done")
    for line in outlooks(place, order.asked):
        click.echo(line)


def _tell(order: Order, submission: Submission, next_wave: str | None, slurm: Slurm, as_json: bool) -> None:
    if as_json:
        data = {
            "name": order.name,
            "chains": list(order.chains),
            "jobs": {str(slot): job_id for slot, job_id in submission.jobs.items()},
            "in_flight": list(submission.in_flight),
            "deferred": [request.label for request in submission.deferred],
            "next_wave": next_wave,
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
        sender = f"job {next_wave} sends them when these end" if next_wave else "the same command sends them later"
        click.echo(f"{len(submission.deferred)} jobs are past the submit limit: {sender}.")
    click.echo(order.price)
    look = f"detour status {order.chains[0]}" if len(order.chains) == 1 else "detour status"
    click.echo(f"{order.name} is Slurm's now; look with `{look}`.")
