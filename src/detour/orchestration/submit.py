"""From an order to jobs in Slurm, exactly once.

Run again after any kill or refusal, a submission completes what is missing and sends nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from detour.budgets.arithmetic import Line
from detour.budgets.caps import load_budgets
from detour.budgets.reserve import reserving
from detour.errors import SchedulerUnavailable, UserError, Withdrawn
from detour.ledger.events import ChainSubmitted, StageSubmitted
from detour.ledger.folders import refuse_links
from detour.ledger.journal import Journal, command_journal
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import chains_before, plans_to_write, restore_chains, write_chains
from detour.orchestration.code_snapshot import take_code_snapshot
from detour.orchestration.damage import set_aside
from detour.orchestration.failures import clear_failures, failures_before, restore_failures
from detour.orchestration.order import Order
from detour.orchestration.slurm import (
    script_style,
    submission_folder,
    submit_limits,
    submitter,
    submitting,
)
from detour.orchestration.waves import last_jobs, qos_kept_free, send_continuation
from detour.scheduler.answers import SubmissionRefused
from detour.scheduler.commands import Slurm
from detour.scheduler.requests import JobRequest
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.submission import Submission, Submitter


@dataclass(frozen=True, slots=True)
class Submitted:
    """The outcome of an order."""

    order: Order = field(repr=False)
    submission: Submission
    caps: tuple[Line, ...] = ()
    """Budget caps that the order exceeds: soft ones, and hard ones with a recorded reason."""
    next_wave: str | None = None
    """The job that sends what did not fit under a submit limit."""
    next_wave_problem: str | None = None
    """Why there is no such job although the cluster lets jobs submit."""
    calls: Mapping[str, int] | None = None
    """Number of calls of each Slurm command."""
    left_out: tuple[str, ...] = ()
    """Files among the code that are not copied for jobs."""

    def require_done(self) -> None:
        """Raises SchedulerUnavailable if the queue does not show all jobs released; what was sent stays sent."""
        if self.submission.left:
            raise SchedulerUnavailable(self.submission.left)


def send(
    workspace: Workspace,
    order: Order,
    *,
    over_budget: str | None = None,
    on_wait: Callable[[str], None],
    finish_interrupted: Callable[[], bool],
    confirm: Callable[[], None] = lambda: None,
) -> Submitted:
    """Send the order to the queue exactly once, under the workspace's claim, if the budgets accept it.

    Slurm is not asked about an order without jobs.

    over_budget         why a hard cap may be exceeded; recorded
    on_wait             receives the other submitter if the order has to wait for it
    finish_interrupted  asked after Ctrl-C, while what was sent is still held: True completes it, False withdraws it
    confirm             called under the claim; raises if the order must not be sent any more

    Raises StageFailed if only failed stages are left, UserError if `detour gc` has removed an input meanwhile,
    BudgetRefused, SchedulerUnavailable, SubmissionRefused; Withdrawn after an interrupted submission that was not
    completed.
    """
    order.require_work()
    if not order.requests:
        _store_plans(workspace, order)
        return Submitted(order, Submission({}, (), (), ()))
    workspace.create()
    slurm = Slurm(cluster=order.cluster.slurm_cluster)
    with submitting(workspace, on_wait), command_journal(workspace) as journal:
        confirm()
        _require_inputs(workspace, order)
        code = take_code_snapshot(workspace)  # under the claim: until a job needs it, `detour gc` may remove it
        style = script_style(workspace, order.cluster, code.folder)
        for request in order.requests:
            refuse_links(workspace.root, submission_folder(workspace, request.unit))
        limits, kept_free = submit_limits(order.cluster), qos_kept_free(order.cluster)
        published = _Published(journal, order.cluster.slurm_cluster or "")

        def make() -> Submitter:
            return submitter(workspace, journal, slurm, style, limits, kept_free, published.of_jobs)

        with reserving(workspace, journal, load_budgets(), order.demand, over_budget) as reservation:
            with _prepared(workspace, order):
                submission = _submit(make, order.requests, finish_interrupted)
            reservation.commit()
        published.add(submission.jobs_by_stage)
        for chain in order.chains:
            journal.append(ChainSubmitted(cluster=order.cluster.name), chain=chain)
        next_wave, problem = None, None
        if submission.deferred and order.cluster.compute_nodes_submit:
            continuation = replace(order.continuation, why_over=over_budget)
            ends = last_jobs(submission.requests, submission.jobs)
            try:
                next_wave = send_continuation(workspace, journal, slurm, style, continuation, ends)
            except (SchedulerUnavailable, SubmissionRefused) as error:
                problem = str(error)
    return Submitted(order, submission, reservation.exceeded, next_wave, problem, dict(slurm.calls), code.left_out)


def _require_inputs(workspace: Workspace, order: Order) -> None:
    """Raises UserError if a done input is gone: until a plan in the workspace needs it, `detour gc` may remove it."""
    sent = {stage for request in order.requests for stage in request.stages}
    stages = {stage.id: stage for plan in order.plans for stage in plan.stages}
    for stage_id in sent & stages.keys():
        for input_id in stages[stage_id].inputs.values():
            if input_id not in sent and not workspace.is_done(input_id):
                raise UserError(
                    f"{input_id}: is no longer done (removed by `detour gc`?). Nothing was submitted: submit again, "
                    "and it is made again"
                )


@contextmanager
def _prepared(workspace: Workspace, order: Order) -> Iterator[None]:
    """Write what jobs read, and remove what would keep stages from being made again.

    If Slurm refuses the order, or it is withdrawn, chains and failures are as before.
    """
    chains = chains_before(workspace, order.plans)
    failures = failures_before(workspace, [failure.stage for failure in order.failures])
    _prepare_folders(workspace, order)
    try:
        yield
    except (SubmissionRefused, Withdrawn):
        restore_chains(workspace, chains)
        restore_failures(workspace, failures)
        raise


def _prepare_folders(workspace: Workspace, order: Order) -> None:
    continuation = order.continuation
    write_chains(workspace, order.plans, order.cluster, order.price.prices, continuation.options, continuation.sweep)
    set_aside(workspace, [stage.id for stage in order.damaged])
    if order.retry:
        clear_failures(workspace, order.name, [failure.stage for failure in order.failures])


def _store_plans(workspace: Workspace, order: Order) -> None:
    """Write those plans of an order without jobs that the workspace does not hold."""
    if plans := plans_to_write(workspace, order.plans, order.cluster):
        workspace.create()
        write_chains(
            workspace, plans, order.cluster, options=order.continuation.options, sweep=order.continuation.sweep
        )


def _submit(
    make: Callable[[], Submitter], requests: Sequence[JobRequest], finish_interrupted: Callable[[], bool]
) -> Submission:
    """Submit; after Ctrl-C, complete or withdraw what was sent, none of which can have run."""
    try:
        return make().submit(requests)
    except KeyboardInterrupt:
        if finish_interrupted():
            return make().submit(requests)
    ids = make().withdraw({stage for request in requests for stage in request.stages})
    raise Withdrawn(f"withdrawn: {len(ids)} job(s); nothing of this submission is left in Slurm")


@dataclass(frozen=True, slots=True)
class _Published:
    """Records once which job each stage is in, for readers of the ledger; the submission itself does not need it."""

    journal: Journal
    slurm_cluster: str
    pairs: set[tuple[str, str]] = field(default_factory=set)
    """Stages and their jobs."""

    def of_jobs(self, jobs: Iterable[Sent]) -> None:
        self.add(pair for sent in jobs for pair in sent.jobs_by_stage)

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        for stage, job in dict.fromkeys(pairs):
            if (stage, job) not in self.pairs:
                self.journal.append(StageSubmitted(slurm_cluster=self.slurm_cluster), stage=stage, job=job)
                self.pairs.add((stage, job))
