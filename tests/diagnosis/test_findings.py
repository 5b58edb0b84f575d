"""What is found in the evidence, and which findings do not count."""

from __future__ import annotations

import pytest

from detour.diagnosis.evidence import Evidence, SlurmRow
from detour.diagnosis.findings import find

JOB = (SlurmRow({"JobID": "7", "State": "FAILED", "ExitCode": "1:0"}),)
KILL = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId={}.0. Some of your processes may have been killed"


def doubts(*log: str) -> list[str | None]:
    return [one.doubt for one in find(Evidence(JOB, log=log)) if one.cause is not None]


def test_what_slurm_says_of_another_job_does_not_count() -> None:
    assert doubts(KILL.format(8), "srun: Terminating StepId=7.0") == ["said of another job"]


def test_an_id_that_sacct_does_not_know_may_be_the_jobs_own_where_the_log_names_no_other() -> None:
    assert doubts(KILL.format(8)) == [None]


@pytest.mark.parametrize("line", ["predictions: ['out of memory', 'segmentation fault']", 'sample 3: "bus error"'])
def test_words_that_a_line_only_quotes_do_not_count(line: str) -> None:
    assert doubts(line) in (["only quoted"], [])


@pytest.mark.parametrize(
    "line",
    ["NCCL WARN Cuda failure 2 'out of memory'", '{"level": "error", "message": "CUDA out of memory"}'],
)
def test_words_that_an_error_quotes_count(line: str) -> None:
    assert doubts(line) == [None]
