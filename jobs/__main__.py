"""`python -m jobs --workspace W STAGE...`: what every job runs, on a compute node or on a laptop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from detour.errors import DetourError, PermanentFailure
from detour.ledger.workspace import Workspace
from detour.scheduler.commands import Slurm
from jobs.harness import run_stage
from jobs.rank import read_rank
from jobs.segments import cancel_later_segments


def main(arguments: list[str] | None = None) -> int:
    """Run the stages one after the other; the first one that does not end well ends the job with its exit code."""
    parser = argparse.ArgumentParser(prog="python -m jobs", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--wall-limit-s", type=float, help="ask the stage to stop and save after this many seconds")
    parser.add_argument("stages", nargs="+", metavar="STAGE", help="ids, as in `detour plan --json`")
    options = parser.parse_args(arguments)
    # Before torch is loaded: threads that spin while they wait make training four times slower on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rank = read_rank()
    rank.export(os.environ)  # type: ignore[arg-type]
    job = job_id(os.environ)
    try:
        for stage_id in options.stages:
            code = run_stage(Workspace(options.workspace), stage_id, rank, job=job, wall_limit_s=options.wall_limit_s)
            if code == PermanentFailure.exit_code and rank.is_main and "SLURM_JOB_ID" in os.environ:
                cancel_later_segments(os.environ, Slurm())
            if code:
                return code
    except DetourError as error:
        print(f"detour: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def job_id(environment: Mapping[str, str]) -> str | None:
    """As people and sacct write it, `7` or `7_3`; None without a scheduler."""
    if "SLURM_ARRAY_JOB_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID") or environment.get("SUBMITIT_LOCAL_JOB_ID")


if __name__ == "__main__":
    sys.exit(main())
