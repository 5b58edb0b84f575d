"""A job and a process of the same number have different ids."""

from __future__ import annotations

import pytest

from detour.ledger.executor_ids import job_in, process_executor, process_in


@pytest.mark.parametrize(
    ("executor", "job", "process"),
    [("7", "7", None), ("7_3", "7_3", None), (process_executor("7"), None, "7"), (None, None, None)],
)
def test_an_executor_is_a_job_or_a_process(executor: str | None, job: str | None, process: str | None) -> None:
    assert (job_in(executor), process_in(executor)) == (job, process)
