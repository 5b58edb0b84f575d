"""`detour logs` as a user calls it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from detour.jobs.attempt_log import begin_line
from detour.jobs.rank import Rank
from detour.launch.logs import command
from detour.ledger.workspace import Workspace
from tests.monitoring.workspaces import TRAIN, end, make_workspace, mark_done, start
from tests.support.invoking import invoke

call = partial(invoke, command, TRAIN.id)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A training whose job 7 was requeued once, on two ranks."""
    made = make_workspace(tmp_path)
    folder = made.root / "submissions" / TRAIN.id
    folder.mkdir(parents=True)
    for rank in range(2):
        place = Rank(rank, 2, rank, 2, 0, "n1", 1)
        attempts = (begin_line(TRAIN.id, TRAIN.label, place, "7", number) for number in (1, 2))
        lines = (f"detour: {begin}\nattempt {n} of rank {rank}\nits end\n" for n, begin in enumerate(attempts, 1))
        (folder / f"7_{rank}_log.out").write_text("".join(lines))
    for number in (1, 2):
        end(start(made, TRAIN, number, job="7"), "interrupted")
    return made


def test_an_attempt_and_a_rank_can_be_chosen(workspace: Workspace) -> None:
    shown = call("-w", workspace.root, "--attempt", -1, "--rank", 1).stdout
    assert "attempt 1 of rank 1" in shown
    assert "attempt 2" not in shown


def test_only_the_last_lines_can_be_shown(workspace: Workspace) -> None:
    assert call("-w", workspace.root, "--lines", 1).stdout == "its end\n"


def test_only_the_path_can_be_printed(workspace: Workspace) -> None:
    path = workspace.root / "submissions" / TRAIN.id / "7_1_log.out"
    assert call("-w", workspace.root, "--path", "--rank", 1).stdout == f"{path}\n"


def test_json_has_the_lines_and_where_they_are_from(workspace: Workspace) -> None:
    found = json.loads(call("-w", workspace.root, "--json", "-n", 2).stdout)
    assert found["lines"] == ["attempt 2 of rank 0", "its end"]
    assert (found["job"], found["attempt"]) == ("7", 2)


def test_the_log_of_a_done_stage_is_followed_to_its_end(workspace: Workspace) -> None:
    mark_done(workspace, TRAIN)
    assert call("-w", workspace.root, "--follow").stdout.endswith("attempt 2 of rank 0\nits end\n")


def test_the_attempts_after_the_last_lines_of_one_are_followed_too(workspace: Workspace) -> None:
    mark_done(workspace, TRAIN)
    shown = call("-w", workspace.root, "--follow", "--lines", 1, "--attempt", 1).stdout.splitlines()
    assert [line for line in shown if "begins: " not in line] == ["its end", "attempt 2 of rank 0", "its end"]
