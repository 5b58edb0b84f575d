"""A job that keeps a journal as the harness does for some seconds, and ends as its arguments say, in turn.

python -m tests.slurm.job_with_ending WORKSPACE STAGE done|failed|endless [ENDING OF THE NEXT TRY...]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from detour.jobs.__main__ import executor_of
from detour.ledger.attempt import Attempt
from detour.ledger.events import AttemptEnded, AttemptHeartbeat, AttemptStarted, CheckpointSaved, StageDone
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace

SLEPT_S = 1.5


def main(workspace: str, stage: str, *endings: str) -> int:
    time.sleep(SLEPT_S)
    tries = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    ending = endings[min(tries, len(endings) - 1)]
    with Journal.open(Workspace(Path(workspace)), stage) as journal:
        attempt = Attempt(journal, stage=stage, number=tries + 1, job=executor_of(os.environ))
        attempt.event(AttemptStarted(gpus=2, cpus=1, nodes=1, cluster="slurm-local"))
        attempt.progress(1, 2, "steps")
        attempt.event(CheckpointSaved(step=1, tokens=1))
        journal.flush()
        time.sleep(0.5)
        while ending == "endless":
            attempt.event(AttemptHeartbeat())
            time.sleep(0.5)
        if ending == "done":
            attempt.event(StageDone(result={}))
        attempt.event(AttemptEnded(outcome=ending, exit_code=int(ending == "failed")))
    time.sleep(SLEPT_S)
    return int(ending == "failed")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
