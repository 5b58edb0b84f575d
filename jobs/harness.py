"""One attempt at one stage, the same under Slurm, under the local executor and by hand.

    already done? -> already failed for good? -> claim -> inputs verified -> run -> manifest -> rename -> journal

Whatever happens inside, the end is journalled and the exit code says what the scheduler is to do next (detour.errors).
A marker on disk, never the scheduler's word, decides whether a stage is done or its inputs are there.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detour.accounting.allocation import read_allocation
from detour.accounting.meter import EnergyMeter
from detour.accounting.sampler import EnergySampler
from detour.checkpoints.manifest import not_output_of, read_manifest, verify_manifest, write_manifest
from detour.checkpoints.provenance import provenance
from detour.diagnosis.policy import counts_as_fruitless, ends_for_good
from detour.diagnosis.verdict import Verdict
from detour.disk import with_room
from detour.errors import DetourError, Interrupted, NoRoom, NotReady, PermanentFailure, UserError
from detour.files import fsync_directory, write_atomic
from detour.imports import uncollected
from detour.jobs.context import StageContext
from detour.jobs.diagnosis import diagnosis_event, learn_of_killed, slurm_facts, verdict_on_failure
from detour.jobs.environment import require_environment
from detour.jobs.log import LOGGER
from detour.jobs.narrator import Narrator, begin_line, end_line
from detour.jobs.node_energy import node_energy, this_start
from detour.jobs.progress import FRUITLESS_ATTEMPTS, attempts_in, count_anew, got_further, is_fruitless, leave_uncounted
from detour.jobs.rank import Rank
from detour.jobs.signals import on_stop_signals
from detour.ledger.attempt import Attempt
from detour.ledger.claims import Claim, ClaimHeld, claim
from detour.ledger.events import AttemptEnded, AttemptHeartbeat, AttemptStarted, StageDone, StageFailed
from detour.ledger.folders import let_group_read, make_folder, refuse_links
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import failure_reason
from detour.planning.files import read_stage
from detour.planning.stage import Stage

HEARTBEAT_S = 10.0
STALE_AFTER_S = 45.0
"""Without a heartbeat, after which the claim of an attempt on another node counts as left behind by a dead one."""
OUT_OF_TIME = ("signal SIGUSR2", "wall-time limit")
"""Reasons to stop that leave a stage only less time the next time; others make room for another job."""
MAKE_AGAIN = "put it back, or make it again with `detour retry`"

StageFunction = Callable[[StageContext[Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    exit_code: int
    name: str
    """done, interrupted, failed, refused, already-done."""
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    out_of_room: bool = False
    error: Exception | None = field(default=None, repr=False)
    """That the work raised, where no error was foreseen."""


def run_stage(
    workspace: Workspace,
    stage_id: str,
    rank: Rank,
    *,
    job: str | None,
    wall_limit_s: float | None,
    held_since_s: float | None = None,
) -> int:
    """Run one attempt and return the job's exit code: 0 done, 85 stopped after saving, 86 failed for good, 87 not
    ready, 1 anything else.

    `job` is the scheduler's id. `wall_limit_s` asks for a stop that long from now, for schedulers that send no signal.
    `held_since_s` is when the job began, or the stage before in it ended, where that is known.
    """
    if workspace.is_done(stage_id):
        _say(rank, f"{stage_id} is already done: {workspace.output(stage_id)}")
        return 0
    stage = read_stage(workspace, stage_id)
    if workspace.has_failed(stage_id):
        _say(rank, f"{stage_id} failed for good: {failure_reason(workspace, stage_id)}; `detour retry` clears it")
        return PermanentFailure.exit_code
    _refuse_links(workspace, workspace.stage(stage_id))
    if not rank.is_main:
        return _run_follower(workspace, stage, rank, job)
    try:
        held = with_room(lambda: _claim(workspace, stage_id, job), _log)
    except ClaimHeld as error:
        _say(rank, str(error))
        return NotReady.exit_code
    with held:
        if workspace.is_done(stage_id):
            return 0
        return _run_main(workspace, stage, rank, held, job, wall_limit_s, held_since_s)


def _refuse_links(workspace: Workspace, folder: Path) -> None:
    """Raises UserError: what the stage writes and deletes lies in its own folder. Loggers keep links in theirs."""
    work = folder / "work"
    for name in ("attempts", "logs", "output", "work", "work/logs"):
        refuse_links(workspace.root, folder / name)
    for parent, folders, _ in os.walk(work):
        folders[:] = [name for name in folders if Path(parent) != work or name != "logs"]
        for name in folders:
            refuse_links(work, Path(parent) / name)


def _claim(workspace: Workspace, stage_id: str, job: str | None) -> Claim:
    """The right to run the stage. Under Slurm it waits out a claim that may have been left by a dead node."""
    deadline_s = time.monotonic() + (2 * STALE_AFTER_S if "SLURM_JOB_ID" in os.environ else 0.0)
    while True:
        try:
            return claim(workspace, stage_id, _owner(job), stale_after_s=STALE_AFTER_S)
        except ClaimHeld:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(1.0)


def _run_main(
    workspace: Workspace,
    stage: Stage,
    rank: Rank,
    held: Claim,
    job: str | None,
    wall_limit_s: float | None,
    held_since_s: float | None,
) -> int:
    number, folder = with_room(lambda: _next_attempt(workspace, stage.id, job), _log), workspace.stage(stage.id)
    journal = Journal.open(workspace, f"{stage.id}.{number:04d}")
    attempt = Attempt(journal, stage=stage.id, number=number, job=job)
    meter, sampler = EnergyMeter(attempt), EnergySampler(attempt.event)
    attempt.listeners += [sampler.heard, Narrator(_log).heard]
    _log(begin_line(stage.id, stage.label, rank, job, number))
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
        _stop_on_signals(attempt, sampler),
        _alarm(attempt, wall_limit_s),
        _heartbeats(attempt, held, meter),
        meter,
        sampler,
    ):
        killed = learn_of_killed(workspace, stage.id, number, journal) if "SLURM_JOB_ID" in os.environ else None
        if killed is not None and not counts_as_fruitless(killed):
            with _best_effort("the attempt before counts as one without progress"):
                leave_uncounted(folder, number - 1)
        outcome = _worthwhile(folder, number, killed) or _guarded(
            lambda: _patient(workspace, stage, attempt, number, rank)
        )
        outcome = _diagnosed(workspace, folder, attempt, number, outcome)
    outcome = _judged(folder, number, outcome, attempt.stop_reason)
    if outcome.exit_code == PermanentFailure.exit_code:
        attempt.event(StageFailed(reason=outcome.reason))
        with _best_effort(f"{workspace.failure(stage.id)} is not written, so one more attempt may be made"):
            count_anew(folder, number)
            marker = {"reason": outcome.reason, "attempt": number, "job": job}
            write_atomic(workspace.failure(stage.id), json.dumps(marker, indent=1))
    if outcome.name == "done":
        attempt.event(StageDone(result=outcome.result))
    elapsed_s = time.monotonic() - started_s
    attempt.event(
        AttemptEnded(outcome=outcome.name, exit_code=outcome.exit_code, reason=outcome.reason, elapsed_s=elapsed_s)
    )
    journal.close()
    if outcome.reason:
        _say(rank, f"{stage.id}: {outcome.name}: {outcome.reason}")
    elif outcome.name == "done":
        with _best_effort("what came out is not listed"):
            _log(end_line(stage.label, elapsed_s, outcome.result, workspace.output(stage.id)))
    return outcome.exit_code


def _diagnosed(workspace: Workspace, folder: Path, attempt: Attempt, number: int, outcome: Outcome) -> Outcome:
    """The outcome, or a failure for good where the verdict on it is that only a change can help."""
    if outcome.error is None:
        return outcome
    verdict = verdict_on_failure(workspace, folder.name, outcome.error)
    attempt.event(diagnosis_event(verdict))
    if ends_for_good(verdict, is_further=got_further(folder, number)):
        return Outcome(PermanentFailure.exit_code, "failed", f"{verdict.line}; {verdict.first.advice}")
    return outcome


def _worthwhile(folder: Path, number: int, killed: Verdict | None) -> Outcome | None:
    """None, or why not even to try: under Slurm the attempts before this one were killed, and left nothing new.
    `killed` is the verdict on the last of them.
    """
    if "SLURM_JOB_ID" not in os.environ or not is_fruitless(folder, number - 1):
        return None
    last = f"; the last one: {killed.line}" if killed else ""
    reason = f"{FRUITLESS_ATTEMPTS} attempts in a row made no progress and were killed{last}"
    return Outcome(PermanentFailure.exit_code, "refused", reason)


def _judged(folder: Path, number: int, outcome: Outcome, stop_reason: str | None) -> Outcome:
    """The outcome, or a failure for good where a failure or a time limit is one too many without progress."""
    if outcome.name == "not-ready" or outcome.out_of_room or _makes_room_for_others(outcome, stop_reason):
        with _best_effort("this attempt counts as one without progress"):
            leave_uncounted(folder, number)
    elif outcome.name in ("failed", "interrupted") and is_fruitless(folder, number):
        reason = f"{FRUITLESS_ATTEMPTS} attempts in a row made no progress; the last one: {outcome.reason}"
        return Outcome(PermanentFailure.exit_code, "refused", reason)
    return outcome


def _makes_room_for_others(outcome: Outcome, stop_reason: str | None) -> bool:
    return outcome.name == "interrupted" and stop_reason not in OUT_OF_TIME


def _run_follower(workspace: Workspace, stage: Stage, rank: Rank, job: str | None) -> int:
    """A rank other than 0: takes part in the work and writes no output; the first of a node journals its energy."""
    attempt = Attempt(None, stage=stage.id, number=0, job=None)
    _log(begin_line(stage.id, stage.label, rank, job))
    scratch = workspace.stage(stage.id) / "work"
    with node_energy(workspace, stage.id, rank, job) as sampler, _stop_on_signals(attempt, sampler):
        outcome = _guarded(lambda: _call(workspace, stage, attempt, scratch / f"rank{rank.rank}"))
    return outcome.exit_code


def _patient(workspace: Workspace, stage: Stage, attempt: Attempt, number: int, rank: Rank) -> dict[str, Any]:
    """An attempt that waits for room on a full disk and begins again, from what is saved. Ranks that trained with this
    one have no part in that; their training waits at its checkpoints itself."""
    if rank.world_size > 1:
        return _attempt(workspace, stage, attempt, number)
    return with_room(lambda: _attempt(workspace, stage, attempt, number), _log, lambda: attempt.stop_reason is not None)


def _attempt(workspace: Workspace, stage: Stage, attempt: Attempt, number: int) -> dict[str, Any]:
    folder = workspace.stage(stage.id)
    for leftover in folder.glob("output.*"):
        with _best_effort(f"{leftover} stays"):
            shutil.rmtree(leftover)
    unfinished = folder / f"output.{number:04d}"
    make_folder(workspace.root, unfinished)
    try:
        result = _call(workspace, stage, attempt, unfinished)
    finally:
        with _best_effort("another user may be unable to resume from here"):
            let_group_read(workspace.root, folder / "work")
    let_group_read(workspace.root, unfinished)
    write_manifest(
        unfinished,
        {"stage": stage.to_json(), "attempt": number, "result": result, **provenance()},
    )
    _put_in_place(unfinished, workspace.output(stage.id))
    _tidy(folder)
    return result


def _put_in_place(unfinished: Path, output: Path) -> None:
    """What lies there has no manifest, or the stage would be done: it is moved aside, and removed by the next start."""
    if os.path.lexists(output):
        output.rename(output.with_name(f"output.damaged-{secrets.token_hex(4)}"))
    unfinished.rename(output)


def _tidy(folder: Path) -> None:
    """Once the output is in place, nothing makes the stage fail: what cannot be removed stays."""
    with _best_effort(f"{folder} is not tidied up"):
        fsync_directory(folder)
        _discard_work(folder / "work")


def _discard_work(work_dir: Path) -> None:
    """Checkpoints are of no use once the output is in place; what users' loggers wrote stays.

    By descriptor, so that a link put in its place leads nowhere.
    """
    descriptor = os.open(work_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(descriptor) as entries:
            doomed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name != "logs"]
        for name, is_folder in doomed:
            with _best_effort(f"{work_dir / name} stays"):
                if is_folder:
                    shutil.rmtree(name, dir_fd=descriptor)
                else:
                    os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _best_effort(consequence: str) -> Iterator[None]:
    """For what a stage can do without; `consequence` is logged when the file system does not do it."""
    try:
        yield
    except OSError as error:
        _log(f"{consequence}: {error}")


def _call(workspace: Workspace, stage: Stage, attempt: Attempt, output_dir: Path) -> dict[str, Any]:
    require_environment(stage.kind)
    inputs = verified_inputs(workspace, stage)
    work_dir = workspace.stage(stage.id) / "work"
    make_folder(workspace.root, work_dir)
    return stage_function(stage.kind)(StageContext(stage, inputs, work_dir, output_dir, attempt))


def stage_function(kind: str) -> StageFunction:
    """Imports the module of one kind only: a summary needs no torch."""
    with uncollected():
        function: StageFunction = importlib.import_module(f"detour.jobs.{kind}").run
    return function


def verified_inputs(workspace: Workspace, stage: Stage) -> dict[str, Path]:
    """The start gate: role -> output folder, once every input's marker is there, its digests hold and it is that
    stage's own.

    Raises NotReady, or PermanentFailure at another stage's output; both name the input and what is wrong with it.
    """
    folders = {}
    for role, input_id in stage.inputs.items():
        folder = workspace.output(input_id)
        if not workspace.is_done(input_id):
            raise NotReady(f"input {role} ({input_id}) is not there yet")
        if problems := verify_manifest(folder):
            raise NotReady(f"input {role} ({input_id}) is damaged: {'; '.join(problems)}; {MAKE_AGAIN}")
        if problem := not_output_of(input_id, read_manifest(folder)):
            raise PermanentFailure(f"input {role} ({folder}) is not the output of {input_id}: {problem}; {MAKE_AGAIN}")
        folders[role] = folder
    return folders


def _guarded(attempt: Callable[[], dict[str, Any]]) -> Outcome:
    """Turn whatever an attempt raises into what its exit code must say."""
    try:
        return Outcome(0, "done", result=attempt())
    except Interrupted as error:
        return Outcome(error.exit_code, "interrupted", str(error))
    except NotReady as error:
        return Outcome(error.exit_code, "not-ready", str(error))
    except (PermanentFailure, UserError) as error:
        return Outcome(PermanentFailure.exit_code, "failed", str(error))
    except DetourError as error:
        return Outcome(error.exit_code, "failed", str(error), out_of_room=isinstance(error, NoRoom))
    except Exception as error:  # noqa: BLE001  the journal must say how any attempt ended
        traceback.print_exc()
        return Outcome(1, "failed", f"{type(error).__name__}: {error}", error=error)


def _next_attempt(workspace: Workspace, stage_id: str, job: str | None) -> int:
    """The next free number; creating its file is what takes it, so that two processes never share one."""
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
                json.dumps({**this_start(job), **slurm_facts(), "node": socket.gethostname(), "pid": os.getpid()})
            )
        except OSError:
            path.unlink()
            raise
        return number


@contextmanager
def _stop_on_signals(attempt: Attempt, sampler: EnergySampler | None) -> Iterator[None]:
    """Turn TERM, INT, USR1 and USR2 into a request that the work answers at its next safe point."""

    def request(number: int, _frame: object) -> None:
        attempt.request_stop(f"signal {signal.Signals(number).name}")
        if sampler is not None:
            sampler.ask("signal")

    with on_stop_signals(request):
        yield


@contextmanager
def _alarm(attempt: Attempt, after_s: float | None) -> Iterator[None]:
    if after_s is None:
        yield
        return
    timer = threading.Timer(after_s, attempt.request_stop, args=("wall-time limit",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _heartbeats(attempt: Attempt, held: Claim, meter: EnergyMeter) -> Iterator[None]:
    """Sign of life for those who watch, and for those who would take over the claim."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            held.refresh()
            attempt.event(AttemptHeartbeat())
            meter.flush()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _owner(job: str | None) -> str:
    return f"job {job}" if job else f"process {os.getpid()}"


def _say(rank: Rank, message: str) -> None:
    if rank.is_main:
        _log(message)


def _log(message: str) -> None:
    LOGGER.info(message)
