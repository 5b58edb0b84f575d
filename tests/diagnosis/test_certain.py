"""Jobs that are completed according to Slurm, but not according to their log."""

from __future__ import annotations

from detour.diagnosis.evidence import Evidence, LedgerEvent, SlurmRow
from detour.diagnosis.judge import judge

COMPLETED = (SlurmRow({"JobID": "7", "State": "COMPLETED", "ExitCode": "0:0"}),)
TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "train.py", line 12, in <module>',
    "    main()",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
)


def test_a_log_that_ends_with_a_traceback_is_judged_though_a_pipe_lost_the_exit_code() -> None:
    assert judge(Evidence(COMPLETED, log=TRACEBACK, events=())).cause == "cuda_oom"


def test_a_broken_pipe_at_the_end_of_a_completed_job_is_no_failure() -> None:
    log = (*TRACEBACK[:3], "BrokenPipeError: [Errno 32] Broken pipe")
    assert judge(Evidence(COMPLETED, log=log, events=())).cause == "normal"


def test_a_log_that_goes_on_after_a_traceback_is_of_a_job_that_ended_well() -> None:
    assert judge(Evidence(COMPLETED, log=(*TRACEBACK, "retried, done"), events=())).cause == "normal"


def test_a_stage_that_is_done_is_done_whatever_its_log_ends_with() -> None:
    assert judge(Evidence(COMPLETED, log=TRACEBACK, events=(LedgerEvent("stage.done"),))).cause == "normal"
