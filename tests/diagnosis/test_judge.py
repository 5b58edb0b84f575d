"""Which cause comes first if several are seen."""

from __future__ import annotations

from detour.diagnosis.evidence import Evidence, SlurmRow
from detour.diagnosis.judge import judge

COMPLAINT = "slurmstepd-n1: error: task/cgroup: task[0] unable to set taskset '0x0'"
ERROR = "ModuleNotFoundError: No module named 'composer'"


def test_a_complaint_explains_no_cause_that_stands_by_itself() -> None:
    verdict = judge(Evidence(log=(COMPLAINT, ERROR)))
    assert verdict.first.quote == ERROR
    assert verdict.others[0].explained_by is None


def test_a_complaint_is_the_cause_where_nothing_else_is_found() -> None:
    assert judge(Evidence(log=(COMPLAINT,))).cause == "launch_failure"


def test_a_save_that_fails_after_the_warning_comes_before_the_time_limit() -> None:
    row = SlurmRow({"JobID": "7", "State": "TIMEOUT"})
    failed = "OSError: [Errno 122] Disk quota exceeded"
    limit = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-05-12T13:26:25 DUE TO TIME LIMIT ***"
    warning = "signal SIGUSR2: saving at the next step, then stopping"
    assert judge(Evidence((row,), log=(warning, failed, limit))).cause == "disk_quota"
    assert judge(Evidence((row,), log=(warning, limit, failed))).cause == "time_limit"


def test_a_job_that_was_requeued_and_then_cancelled_was_cancelled() -> None:
    requeue = "slurmstepd-gpu1: error: *** JOB 7 ON gpu1 CANCELLED AT 2026-11-27T15:13:03 DUE TO JOB REQUEUE ***"
    cancel = "slurmstepd-gpu1: error: *** JOB 7 ON gpu1 CANCELLED AT 2026-11-27T15:13:17 ***"
    rows = tuple(SlurmRow({"JobID": "7", "State": state}) for state in ("REQUEUED", "CANCELLED by 0"))
    assert judge(Evidence(rows, log=(requeue, cancel))).cause == "cancelled"
    assert judge(Evidence(rows[:1], log=(requeue,))).cause == "preempted"


def test_a_time_limit_without_readable_events_says_neither_that_work_is_lost_nor_that_it_is_kept() -> None:
    row = SlurmRow({"JobID": "7", "State": "TIMEOUT"})
    unreadable = judge(Evidence((row,), log=(), events=None)).first
    assert (unreadable.cause, unreadable.retry) == ("time_limit", "unknown")
    assert judge(Evidence((row,), log=(), events=())).first.retry == "after-change"


def test_a_save_before_the_limit_is_seen_without_slurms_accounts() -> None:
    limit = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-05-12T13:26:25 DUE TO TIME LIMIT ***"
    log = ("signal SIGUSR2: saving at the next step, then stopping", "saved ba18625 in 21.4 s", limit)
    assert judge(Evidence(None, log=log)).cause == "normal"
