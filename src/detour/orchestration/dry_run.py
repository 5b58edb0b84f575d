"""What an order would send now, without sending it: every batch script, what is in flight, and what has to wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from detour.ledger.identity import workspace_id
from detour.ledger.process import users_here
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.code_snapshot import planned_snapshot
from detour.orchestration.order import Order
from detour.orchestration.slurm import script_file, script_style, submit_limits
from detour.orchestration.waves import qos_kept_free
from detour.scheduler.commands import Slurm
from detour.scheduler.dependency import After
from detour.scheduler.in_flight import jobs_sent, open_jobs
from detour.scheduler.preview import preview
from detour.scheduler.requests import JobRequest
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.snapshot import Snapshot, identified, take_snapshot
from detour.scheduler.submission_script import ScriptStyle, gate_of, submission_script
from detour.scheduler.tags import Tag


@dataclass(frozen=True, slots=True)
class DryRun:
    scripts: tuple[tuple[JobRequest, str], ...]
    """The batch scripts. In place of ids they have the stages they wait for, and `dry-run` for the submission."""
    in_flight: tuple[str, ...] = ()
    deferred: tuple[JobRequest, ...] = ()
    remarks: tuple[str, ...] = ()


def dry_run(view: LedgerView, order: Order) -> DryRun:
    """Asks Slurm only if jobs may be in flight, or a QOS has a submit limit. Raises StageFailed as `send` does."""
    order.require_work()
    workspace, slurm = view.workspace, Slurm(cluster=order.cluster.slurm_cluster)
    users = users_here(view.state.users)
    wanted = {stage for request in order.requests for stage in request.stages}
    names = {request.resources.qos for request in order.requests}
    limits = {qos: limit for qos, limit in submit_limits(order.cluster).items() if qos in names}
    sent = {
        tag: job
        for tag, job in jobs_sent(view).items()
        if job.may_be_on(slurm.cluster) or not wanted.isdisjoint(job.stages)
    }
    are_open = not wanted.isdisjoint(open_jobs(view))
    snapshot, remarks = _queue(slurm, users, sent, is_asked=bool(limits) or are_open)
    seen = preview(
        order.requests,
        sent,
        snapshot,
        users[0],
        workspace_id(workspace.root),
        workspace.is_done,
        limits,
        qos_kept_free(order.cluster),
    )
    style = script_style(workspace, order.cluster, planned_snapshot(workspace))
    scripts = tuple((request, _script(workspace, request, style, is_gated=seen.is_gated)) for request in seen.send)
    return DryRun(scripts, seen.in_flight, seen.deferred, remarks if are_open else ())


def _queue(
    slurm: Slurm, users: list[str], sent: Mapping[Tag, Sent], *, is_asked: bool
) -> tuple[Snapshot, tuple[str, ...]]:
    """The queue, which is taken to be empty if it is not asked or does not answer, and what to say about that."""
    snapshot = take_snapshot(slurm, users) if is_asked else Snapshot(0.0, (), None)
    if snapshot.queue is None:
        said = f"{'; '.join(snapshot.missing)}. Jobs that are in flight already are shown too"
        return replace(snapshot, queue=()), (said,)
    return identified(snapshot, sent)[0], ()


def _script(workspace: Workspace, request: JobRequest, style: ScriptStyle, *, is_gated: bool) -> str:
    tag = Tag(workspace_id(workspace.root), request.unit, 1, "dry-run")
    path = script_file(workspace, tag)
    gate = gate_of(path) if is_gated else None
    return submission_script(request, tag, _after(request.after), style, path.parent, gate)


def _after(stages: Iterable[str]) -> After | None:
    named = " ".join(f"<{stage}>" for stage in stages)
    return After("afterok", named) if named else None
