"""`python -m detour.jobs --workspace W STAGE...`: what every job runs, on a compute node or on a laptop."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from detour.errors import DetourError, Interrupted, PermanentFailure
from detour.jobs.concurrent_seeds import THREADS, joint_exit_code, processes_for, run_at_once, shares, this_command
from detour.jobs.environment import sees_gpu
from detour.jobs.forked_seeds import run_forked
from detour.jobs.freed_memory import keep_freed_memory
from detour.jobs.harness import run_stage
from detour.jobs.log import LOGGER, log_to_stderr
from detour.jobs.rank import Rank, forget_leftovers, read_rank
from detour.jobs.seed_memory import seeds_that_fit
from detour.jobs.segments import cancel_later_segments
from detour.ledger.executor_ids import process_executor
from detour.ledger.folders import workspace_umask
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.files import read_stage
from detour.planning.stage import EvaluateStage
from detour.scheduler.commands import Slurm
from detour.scheduler.in_flight import jobs_sent

QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""For logs: transformers reports the head, which an encoder leaves out, as unexpected weights that are not OK."""


def main(arguments: list[str] | None = None) -> int:
    """Run the stages in turn and return the job's exit code.

    After a permanent failure the other stages still run, since no later attempt would run them. Seeds of one task share
    a GPU, or the cores of a job without one, if several fit: see `concurrent_seeds`.
    """
    parser = argparse.ArgumentParser(prog="python -m detour.jobs", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--wall-limit-s", type=float, help="ask the stage to stop and save after this many seconds")
    parser.add_argument("--part", action="store_true", help="a process of a job that runs several at once")
    parser.add_argument("stages", nargs="+", metavar="STAGE", help="ids, as in `detour plan --json`")
    options = parser.parse_args(arguments)
    log_to_stderr(of_several=options.part)
    # Set before torch is loaded: threads that spin while waiting make training four times slower on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.update(QUIET | os.environ)
    keep_freed_memory()
    forget_leftovers(os.environ)
    rank = read_rank()
    rank.export(os.environ)
    workspace = Workspace(options.workspace)
    return _exit_code(lambda: _run(workspace, options, rank), workspace.root)


def _exit_code(run: Callable[[], int], root: Path) -> int:
    """The exit code that `run` returns, or that of the error it raises, which is logged in one line."""
    try:
        with workspace_umask(root):
            return run()
    except DetourError as error:
        LOGGER.error(error)
        return error.exit_code
    except OSError as error:
        LOGGER.error("%s: %s", error.filename or root, error.strerror or error)
        return DetourError.exit_code


def _run(workspace: Workspace, options: argparse.Namespace, rank: Rank) -> int:
    left = [stage_id for stage_id in options.stages if not workspace.is_done(stage_id)]
    count = 1 if options.part else _processes(workspace, options.stages, len(left), rank)
    if count > 1 and sees_gpu(os.environ):
        code = run_at_once(this_command(workspace.root, options.wall_limit_s), shares(left, count))
    elif count > 1:
        code = run_forked(
            lambda share: _run_part(workspace, share, rank, options.wall_limit_s),
            shares(left, count),
            lambda: _read_ahead(workspace, left[0]),
        )
    else:
        code = _run_stages(workspace, options.stages, rank, options.wall_limit_s, is_part=options.part)
    if code == PermanentFailure.exit_code and rank.is_main and "SLURM_JOB_ID" in os.environ and not options.part:
        cancel_later_segments(os.environ, Slurm(), lambda: jobs_sent(LedgerView(workspace)))
    return code


def _processes(workspace: Workspace, stages: Sequence[str], left: int, rank: Rank) -> int:
    """Number of processes; more than one only for seeds that are left to fine-tune, in a job of one process."""
    if len(stages) < 2 or rank.world_size > 1:
        return 1
    found = [read_stage(workspace, stage_id) for stage_id in stages]
    seeds = [stage for stage in found if isinstance(stage, EvaluateStage)]
    if len(seeds) < len(stages):
        return 1
    cores, first = len(os.sched_getaffinity(0)), seeds[0]
    model = workspace.output(first.inputs["model"])
    count = processes_for(len(seeds), cores, fitting=lambda: seeds_that_fit(first.settings.task, model))
    if count > 1 and not sees_gpu(os.environ):
        # From all seeds of the job, even if few are left: the last digits of a score depend on the number of threads.
        os.environ.setdefault(THREADS, str(max(1, cores // count)))
    return min(count, max(1, left))


def _read_ahead(workspace: Workspace, stage_id: str) -> None:
    stage = read_stage(workspace, stage_id)
    importlib.import_module("detour.jobs.evaluate").read_ahead(stage, workspace.output(stage.inputs["model"]))


def _run_part(workspace: Workspace, stages: Sequence[str], rank: Rank, wall_limit_s: float | None) -> int:
    log_to_stderr(of_several=True)
    return _exit_code(lambda: _run_stages(workspace, stages, rank, wall_limit_s, is_part=True), workspace.root)


def _run_stages(
    workspace: Workspace, stages: Sequence[str], rank: Rank, wall_limit_s: float | None, *, is_part: bool = False
) -> int:
    executor, began_s = executor_of(os.environ), os.environ.get("SLURM_JOB_START_TIME", "")
    held_since_s = float(began_s) if began_s.isdecimal() and not is_part else None
    codes, stops = list[int](), list[str]()
    for stage_id in stages:
        if stops:
            return Interrupted.exit_code
        code = run_stage(
            workspace,
            stage_id,
            rank,
            executor=executor,
            wall_limit_s=wall_limit_s,
            held_since_s=held_since_s,
            on_stop=stops.append,
        )
        held_since_s = None if held_since_s is None else time.time()
        if code not in (0, PermanentFailure.exit_code):
            return code
        codes.append(code)
    return joint_exit_code(codes)


def executor_of(environment: Mapping[str, str]) -> str | None:
    """The job or process of `detour run` that this is in (`ledger.executor_ids`); None if started by hand."""
    if "SLURM_ARRAY_JOB_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    process = environment.get("SUBMITIT_LOCAL_JOB_ID")
    return environment.get("SLURM_JOB_ID") or (process and process_executor(process))


if __name__ == "__main__":
    sys.exit(main())
