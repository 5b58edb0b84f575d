"""Which cause comes first if several are seen."""

from __future__ import annotations

from detour.diagnosis.evidence import Evidence, Row
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
    row = Row({"JobID": "7", "State": "TIMEOUT"})
    failed = "OSError: [Errno 122] Disk quota exceeded"
    limit = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-05-12T13:26:25 DUE TO TIME LIMIT ***"
    warning = "signal SIGUSR2: saving at the next step, then stopping"
    assert judge(Evidence((row,), log=(warning, failed, limit))).cause == "disk_quota"
    assert judge(Evidence((row,), log=(warning, limit, failed))).cause == "time_limit"
