"""A client of Slurm that does not answer at once: on a terminal the verb says what it waits for, elsewhere nothing."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from detour.ledger.events import StageSubmitted
from detour.ledger.journal import Journal
from tests.launch.terminal import on_terminal
from tests.monitoring.workspaces import TRAIN, make_workspace
from tests.support.chains import DETOUR

SAID = re.compile(r"waiting for squeue \(until \d\d:\d\d:\d\d\)")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`detour status` of a submitted chain, whose squeue fails after more than a second."""
    workspace = make_workspace(tmp_path)
    with Journal.open(workspace, "command-1") as journal:
        journal.append(StageSubmitted(), stage=TRAIN.id, job="7")
    (tmp_path / "squeue").write_text("#!/bin/sh\nexec sleep 1.3\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return [str(DETOUR), "status", "-w", str(workspace.root)]


def test_a_terminal_shows_which_client_is_awaited_until_when_and_erases_the_line(command: list[str]) -> None:
    waiting, erased, shown = on_terminal(command).partition("\r\x1b[K")
    assert SAID.fullmatch(waiting)
    assert erased
    assert "base: 0 of 3 stages done" in shown
    assert "waiting for" not in shown


@pytest.mark.parametrize("way", ["--json", "dumb", "pipe"])
def test_the_line_is_absent_in_json_in_pipes_and_where_it_cannot_be_erased(command: list[str], way: str) -> None:
    if way == "pipe":
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        shown = done.stdout + done.stderr
    else:
        options = ["--json"] if way == "--json" else []
        shown = on_terminal([*command, *options], TERM="dumb" if way == "dumb" else "xterm")
    assert "base" in shown
    assert "waiting for" not in shown
