"""The text of a submission in addition to its jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import detour
from detour.config.loading import load_cluster
from detour.launch.text.submission import submission_warnings
from detour.ledger.workspace import Workspace
from detour.orchestration.order import order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import Submitted
from detour.scheduler.submission import Submission


@pytest.fixture
def sent(tmp_path: Path) -> Submitted:
    order = order_for(Workspace(tmp_path), detour.plan("quickstart"), load_cluster("slurm-local"), JobOptions())
    return Submitted(order, Submission(jobs={}, in_flight=(), deferred=(), remarks=()))


def test_an_ordinary_submission_has_no_warning(sent: Submitted) -> None:
    assert list(submission_warnings(sent)) == []


def test_files_that_jobs_do_not_get_are_named(sent: Submitted) -> None:
    warnings = list(submission_warnings(replace(sent, left_out=("launch/.env",))))
    assert warnings == ["not part of the code that jobs run: launch/.env (docs/installing.md)"]


def test_of_many_files_only_the_first_are_named(sent: Submitted) -> None:
    (warning,) = submission_warnings(replace(sent, left_out=("a", "b", "c", "d", "e")))
    assert "a, b, c and 2 more" in warning
