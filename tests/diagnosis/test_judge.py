"""Which cause comes first where several are seen."""

from __future__ import annotations

from detour.diagnosis.evidence import Evidence
from detour.diagnosis.judge import judge

COMPLAINT = "slurmstepd-n1: error: task/cgroup: task[0] unable to set taskset '0x0'"
ERROR = "ModuleNotFoundError: No module named 'composer'"


def test_a_complaint_explains_no_cause_that_stands_by_itself() -> None:
    verdict = judge(Evidence(log=(COMPLAINT, ERROR)))
    assert verdict.first.quote == ERROR
    assert verdict.others[0].explained_by is None


def test_a_complaint_is_the_cause_where_nothing_else_is_found() -> None:
    assert judge(Evidence(log=(COMPLAINT,))).cause == "launch_failure"
