"""One attempt at one stage, the same under Slurm, under the local executor and by hand.

    already done? -> already failed permanently? -> claim -> inputs verified -> run -> manifest -> rename -> journal

Whatever happens, the end is journalled and the exit code says what the scheduler is to do next (detour.errors). A
marker on disk, never the scheduler, decides whether a stage is done or its inputs are there.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detour.accounting.allocation import read_allocation
from detour.accounting.codecarbon_meter import EnergyMeter
from detour.accounting.sampler import EnergySampler
from detour.diagnosis.policy import counts_as_fruitless
from detour.disk import with_room
from detour.errors import NotReady, PermanentFailure
from detour.files import write_atomic
from detour.jobs.attempt_log import Narrator, begin_line, end_line
from detour.jobs.diagnosis import learn_of_killed, slurm_facts
from detour.jobs.heartbeats import heartbeats
from detour.jobs.log import best_effort, log
from detour.jobs.node_energy import node_energy, this_start
from detour.jobs.outcome import Outcome, diagnosed, guarded, judged, not_worthwhile
from detour.jobs.progress import attempts_in, leave_uncounted, restart_count
from detour.jobs.rank import Rank
from detour.jobs.stops import stop_after, stop_on_signals
from detour.jobs.work import call_stage, make_output
from detour.ledger.attempt import Attempt
from detour.ledger.claims import Claim, ClaimHeld, claim
from detour.ledger.events import AttemptEnded, AttemptStarted, StageDone, StageFailed
from detour.ledger.executor_ids import job_in
from detour.ledger.folders import make_folder, refuse_links
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import failure_reason
from detour.planning.files import read_stage
from detour.planning.stage import Stage

STALE_AFTER_S = 45.0
"""Seconds without a heartbeat after which a claim from another node counts as abandoned."""


def run_stage(
    workspace: Workspace,
    stage_id: str,
    rank: Rank,
    *,
    executor: str | None,
    wall_limit_s: float | None,
    held_since_s: float | None = None,
    on_stop: Callable[[str], None] = lambda _: None,
) -> int:
    """Run one attempt and return the job's exit code.

    It is 0 if done, 85 if stopped after saving, 86 if failed permanently, 87 if not ready, 1 otherwise. `executor` is
    the job or process that this is in. `wall_limit_s` requests a stop after that time, for schedulers that send no
    signal. `held_since_s` is when the job began or its previous stage ended, if known. `on_stop` is called with the
    reason of each request to stop, which may come too late for this stage but concerns those after it.
    """
    if workspace.is_done(stage_id):
        _say(rank, f"{stage_id} is already done: {workspace.output(stage_id)}")
        return 0
    stage = read_stage(workspace, stage_id)
    if workspace.has_failed(stage_id):
        _say(rank, f"{stage_id} failed permanently: {failure_reason(workspace, stage_id)}; `detour retry` clears it")
        return PermanentFailure.exit_code
    _refuse_links(workspace, workspace.stage(stage_id))
    if not rank.is_main:
        return _run_follower(workspace, stage, rank, executor)
    try:
        held = with_room(lambda: _claim(workspace, stage_id, executor), log)
    except ClaimHeld as error:
        _say(rank, str(error))
        return NotReady.exit_code
    with held:
        if workspace.is_done(stage_id):
            return 0
        return _run_main(workspace, stage, rank, held, executor, wall_limit_s, held_since_s, on_stop)


def _refuse_links(workspace: Workspace, folder: Path) -> None:
    """Raises UserError if a folder that the stage writes to is a link. Loggers may have links in `work/logs`."""
    work = folder / "work"
    for name in ("attempts", "logs", "output", "work", "work/logs"):
        refuse_links(workspace.root, folder / name)
    for parent, folders, _ in os.walk(work):
        folders[:] = [name for name in folders if Path(parent) != work or name != "logs"]
        for name in folders:
            refuse_links(work, Path(parent) / name)


def _claim(workspace: Workspace, stage_id: str, executor: str | None) -> Claim:
    """The claim to run the stage. Under Slurm, waits for a claim that a dead node may have left to become stale."""
    deadline_s = time.monotonic() + (2 * STALE_AFTER_S if "SLURM_JOB_ID" in os.environ else 0.0)
    while True:
        try:
            return claim(workspace, stage_id, _owner(executor), stale_after_s=STALE_AFTER_S)
        except ClaimHeld:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(1.0)


def _run_main(
    workspace: Workspace,
    stage: Stage,
    rank: Rank,
    held: Claim,
    executor: str | None,
    wall_limit_s: float | None,
    held_since_s: float | None,
    on_stop: Callable[[str], None],
) -> int:
    number = with_room(lambda: _next_attempt(workspace, stage.id, executor), log)
    journal = Journal.open(workspace, f"{stage.id}.{number:04d}")
    attempt = Attempt(journal, stage=stage.id, number=number, job=executor)
    meter, sampler = EnergyMeter(attempt), EnergySampler(attempt.event)
    attempt.stop_listeners.append(on_stop)
    attempt.listeners += [sampler.heard, Narrator(log).heard]
    log(begin_line(stage.id, stage.label, rank, job_in(executor), number))
    started_s = time.monotonic()
    attempt.event(
        AttemptStarted(
            node=socket.gethostname(),
            pid=os.getpid(),
            world_size=rank.world_size,
            held_since_s=held_since_s,
            **asdict(read_allocation()),
        )
    )
    with (
        stop_on_signals(attempt, sampler),
        stop_after(attempt, wall_limit_s),
        heartbeats(attempt, held, meter),
        meter,
        sampler,
    ):
        outcome = _outcome(workspace, stage, attempt, number, rank, journal)
    outcome = judged(workspace.stage(stage.id), number, outcome, attempt.stop_reason)
    _record(outcome, workspace, stage.id, number, attempt)
    elapsed_s = time.monotonic() - started_s
    attempt.event(
        AttemptEnded(outcome=outcome.name, exit_code=outcome.exit_code, reason=outcome.reason, elapsed_s=elapsed_s)
    )
    journal.close()
    _say_end(workspace, stage, outcome, elapsed_s)
    return outcome.exit_code


def _outcome(
    workspace: Workspace, stage: Stage, attempt: Attempt, number: int, rank: Rank, journal: Journal
) -> Outcome:
    """Run the work, unless the previous attempts show that another one is not worthwhile."""
    folder = workspace.stage(stage.id)
    killed = learn_of_killed(workspace, stage.id, number, journal) if "SLURM_JOB_ID" in os.environ else None
    if killed is not None and not counts_as_fruitless(killed):
        with best_effort("the previous attempt counts as one without progress"):
            leave_uncounted(folder, number - 1)
    outcome = not_worthwhile(folder, number, killed)
    outcome = outcome or guarded(lambda: _waiting_for_room(workspace, stage, attempt, number, rank))
    return diagnosed(workspace, folder, attempt, number, outcome)


def _say_end(workspace: Workspace, stage: Stage, outcome: Outcome, elapsed_s: float) -> None:
    if outcome.reason:
        log(f"{stage.id}: {outcome.name}: {outcome.reason}")
    elif outcome.name == "done":
        with best_effort("its results are not listed"):
            log(end_line(stage.label, elapsed_s, outcome.result, workspace.output(stage.id)))


def _record(outcome: Outcome, workspace: Workspace, stage_id: str, number: int, attempt: Attempt) -> None:
    """Record the outcome for the stage: an event, and a marker if it failed permanently."""
    if outcome.name == "done":
        attempt.event(StageDone(result=outcome.result))
    if outcome.exit_code == PermanentFailure.exit_code:
        attempt.event(StageFailed(reason=outcome.reason))
        failure = workspace.failure(stage_id)
        with best_effort(f"{failure} is not written, so one more attempt may be made"):
            restart_count(workspace.stage(stage_id), number)
            marker = {"reason": outcome.reason, "attempt": number, "job": job_in(attempt.job)}
            write_atomic(failure, json.dumps(marker, indent=1))


def _run_follower(workspace: Workspace, stage: Stage, rank: Rank, executor: str | None) -> int:
    """Run on a rank other than 0, without writing output; the first rank of each node journals its energy."""
    attempt = Attempt(None, stage=stage.id, number=0, job=None)
    log(begin_line(stage.id, stage.label, rank, job_in(executor)))
    scratch = workspace.stage(stage.id) / "work"
    with node_energy(workspace, stage.id, rank, executor) as sampler, stop_on_signals(attempt, sampler):
        outcome = guarded(lambda: call_stage(workspace, stage, attempt, scratch / f"rank{rank.rank}"))
    return outcome.exit_code


def _waiting_for_room(workspace: Workspace, stage: Stage, attempt: Attempt, number: int, rank: Rank) -> dict[str, Any]:
    """Make the output; on a full disk, wait for room and start again from what is saved.

    Not with several ranks, since the others would not take part; there, the training itself waits at its checkpoints.
    """
    if rank.world_size > 1:
        return make_output(workspace, stage, attempt, number)
    return with_room(
        lambda: make_output(workspace, stage, attempt, number), log, lambda: attempt.stop_reason is not None
    )


def _next_attempt(workspace: Workspace, stage_id: str, executor: str | None) -> int:
    """The next free number, reserved by creating its file, so two processes never share one."""
    folder = workspace.stage(stage_id) / "attempts"
    make_folder(workspace.root, folder)
    number = 1 + max((int(path.stem) for path in attempts_in(folder)), default=0)
    while True:
        path = folder / f"{number:04d}.json"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
            continue
        try:
            path.write_text(
                json.dumps({**this_start(executor), **slurm_facts(), "node": socket.gethostname(), "pid": os.getpid()})
            )
        except OSError:
            path.unlink()
            raise
        return number


def _owner(executor: str | None) -> str:
    job = job_in(executor)
    return f"job {job}" if job else f"process {os.getpid()}"


def _say(rank: Rank, message: str) -> None:
    if rank.is_main:
        log(message)
