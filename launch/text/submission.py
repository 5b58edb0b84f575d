"""The outcome of a submission, or what it would send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detour.config.cluster import Cluster
from detour.grouping import grouped
from detour.launch.text.caps import cap_warnings
from detour.launch.text.price import render_price
from detour.launch.text.screen import columns, show, show_json, warn
from detour.ledger.workspace import Workspace
from detour.orchestration.dry_run import DryRun
from detour.orchestration.order import Order
from detour.orchestration.submit import Submitted
from detour.scheduler.requests import JobRequest
from detour.scheduler.submission import Submission
from detour.text import counted, format_duration, listed, wrapped

NAMES_SHOWN = 3
CHAINS_SHOWN = 2


def show_submitted(sent: Submitted, workspace: Workspace, *, as_json: bool) -> None:
    warn(submission_warnings(sent))
    if as_json:
        show_json(submitted_json(sent))
    elif not sent.order.requests:
        show(nothing_to_submit(sent.order, workspace))
    else:
        show(*submitted_lines(sent, workspace, columns()))


def submitted_lines(sent: Submitted, workspace: Workspace, width: int) -> Iterator[str]:
    """The jobs, then what is left out or deferred, the price, and how to follow it."""
    order, submission = sent.order, sent.submission
    yield from _jobs(order, submission, width)
    sender = f"job {sent.next_wave} submits them later" if sent.next_wave else "submit again to send them later"
    yield from _not_sent(submission.in_flight, submission.deferred, sender)
    if order.price.stages:
        yield render_price(order.price, width)
    tracked = order.chains[0] if len(order.chains) == 1 else order.continuation.sweep
    status = workspace.command("status", *([tracked] if tracked else []))
    yield f"Submitted {order.name}. Track it with `{status}`."


def _jobs(order: Order, submission: Submission, width: int) -> Iterator[str]:
    """The jobs of each request, those that read alike (the seeds of a task) on one line."""
    needed_by = _needed_by(order)
    by_unit = grouped((slot.unit, job_id) for slot, job_id in submission.jobs.items())
    alike: dict[tuple[str, int, str], list[str]] = {}
    for request in submission.requests:
        facts = f", time limit {_limit(request, submission)}{_for_chains(order, request, needed_by)}"
        tasks = len(request.tasks) if request.is_array else 0
        alike.setdefault((request.title, tasks, facts), []).extend(by_unit[request.unit])
    for (label, tasks, facts), jobs in alike.items():
        size = f" ({tasks} tasks{' each' if len(jobs) > 1 else ''})" if tasks else ""
        yield from wrapped(f"{label:<32} job {', '.join(jobs)}{size}{facts}", "", width)


def _needed_by(order: Order) -> dict[str, list[str]]:
    """Stage id -> the chains of the order that need it."""
    return grouped((stage, chain) for chain, stages in order.continuation.chains.items() for stage in stages)


def _for_chains(order: Order, request: JobRequest, needed_by: Mapping[str, Sequence[str]]) -> str:
    """The chains of a sweep that need the job, since stages of several chains have the same label."""
    if len(order.chains) == 1:
        return ""
    chains = list(dict.fromkeys(chain for stage in request.stages for chain in needed_by.get(stage, ())))
    if len(chains) == len(order.chains):
        return f", for all {len(chains):,} chains"
    return f", for {listed(chains, CHAINS_SHOWN)}"


def _limit(request: JobRequest, submission: Submission) -> str:
    """The time limit of the jobs, and the one requested now if an earlier submission sent them with another."""
    limits = sorted({limit for slot, limit in submission.limits_s.items() if slot.unit == request.unit and limit})
    had = " and ".join(map(format_duration, limits)) or "unknown"
    return had if limits == [request.wall_s] else f"{had} as submitted before, not {format_duration(request.wall_s)}"


def nothing_to_submit(order: Order, workspace: Workspace) -> str:
    stages = {stage for ids in order.continuation.chains.values() for stage in ids}
    return f"{order.name}: nothing to submit, all {counted(len(stages), 'stage')} are done in {workspace.root}"


def submission_warnings(sent: Submitted) -> Iterator[str]:
    """What sending showed, in addition to the order's own warnings."""
    yield from cap_warnings(sent.caps)
    yield from sent.submission.remarks
    if sent.next_wave_problem:
        yield f"no job submits the next wave: {sent.next_wave_problem}"
    if sent.left_out:
        yield f"not part of the code that jobs run: {listed(sent.left_out, NAMES_SHOWN)} (docs/installing.md)"


def submitted_json(sent: Submitted) -> dict[str, Any]:
    submission = sent.submission
    return {
        "name": sent.order.name,
        "chains": list(sent.order.chains),
        "jobs": {str(slot): job_id for slot, job_id in submission.jobs.items()},
        "in_flight": list(submission.in_flight),
        "deferred": [request.title for request in submission.deferred],
        "next_wave": sent.next_wave,
        "remarks": [*sent.order.warnings, *submission_warnings(sent)],
        "calls": dict(sent.calls or {}),
    }


def _not_sent(in_flight: Sequence[str], deferred: Sequence[JobRequest], sender: str) -> Iterator[str]:
    if in_flight:
        yield f"{counted(len(in_flight), 'stage')} already in flight, shared with this submission."
    if deferred:
        jobs = sum(request.jobs for request in deferred)
        yield f"{counted(jobs, 'job')} deferred by the submit limit: {sender}."


def dry_run_lines(ahead: DryRun, cluster: Cluster) -> Iterator[str]:
    """Every batch script under its label, and what would not be sent."""
    for request, script in ahead.scripts:
        segments = f", {request.segments} segments" if request.segments > 1 else ""
        yield f"### {request.title}{segments}"
        yield script
    sender = "a small job submits them later" if cluster.compute_nodes_submit else "submit again to send them later"
    yield from _not_sent(ahead.in_flight, ahead.deferred, sender)


def dry_run_json(order: Order, ahead: DryRun) -> dict[str, Any]:
    return {
        "name": order.name,
        "chains": list(order.chains),
        "scripts": [
            {"label": request.title, "segments": request.segments, "stages": list(request.stages), "script": script}
            for request, script in ahead.scripts
        ],
        "in_flight": list(ahead.in_flight),
        "deferred": [request.title for request in ahead.deferred],
        "remarks": [*order.warnings, *ahead.remarks],
    }
