"""A job that keeps a journal as the harness does: `work` until a signal stops it, or hang at once with `silent`.

job_until_signal.py WORKSPACE STAGE NUMBER work|silent
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from detour.ledger.attempt import Attempt
from detour.ledger.events import AttemptEnded, AttemptHeartbeat, AttemptStarted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace

BEAT_S = 2.0


def main() -> int:
    root, stage, number, way = sys.argv[1:]
    journal = Journal.open(Workspace(Path(root)), f"{stage}.{number}")
    attempt = Attempt(journal, stage=stage, number=int(number), job=os.environ["SLURM_JOB_ID"])
    for one in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(one, lambda got, _frame: attempt.request_stop(f"signal {signal.Signals(got).name}"))
    attempt.event(AttemptStarted(node=os.environ["SLURMD_NODENAME"], gpus=0, cpus=1))
    if way == "silent":
        journal.flush()
        os.kill(os.getpid(), signal.SIGSTOP)
    while attempt.stop_reason is None:
        attempt.progress(1, 4, "tokens", loss=2.0)
        attempt.event(AttemptHeartbeat())
        time.sleep(BEAT_S)
    attempt.event(AttemptEnded(outcome="interrupted", exit_code=85, reason=f"{attempt.stop_reason}: saved at step 1"))
    journal.close()
    return 85


if __name__ == "__main__":
    sys.exit(main())
