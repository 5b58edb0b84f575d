"""While a service is down or a disk full, status shows what is known with its age, and reports what is missing."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from detour.launch.verbs import detour as verbs
from detour.ledger.events import ChainSubmitted, StageSubmitted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.monitoring.jobs import read_jobs
from detour.monitoring.monitor import Monitor
from detour.monitoring.queries import Question, Reading
from detour.monitoring.status import Status
from detour.scheduler.commands import Slurm
from tests.monitoring.test_jobs import Site
from tests.monitoring.workspaces import PREPARE, TRAIN, end, make_workspace, mark_done, start
from tests.support.small_disk import SmallDisk

VERBS = (["status"], ["status", "base"], ["show", "base"], ["list"], ["logs", "prepare"], ["status", "--json"])


@pytest.fixture
def workspace(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace on the small disk, which also has the node's folder for caches."""
    monkeypatch.setenv("TMPDIR", str(disk.folder))
    made = make_workspace(disk.folder)
    end(start(made, PREPARE, job="7"))
    mark_done(made, PREPARE)
    logs = made.stage(PREPARE.id) / "logs"
    logs.mkdir()
    (logs / "7_0_log.out").write_text("read 7 files\n")
    return made


def answers(workspace: Workspace) -> list[str]:
    results = [CliRunner().invoke(verbs, [*verb, "-w", str(workspace.root)]) for verb in VERBS]
    assert [result.exit_code for result in results] == [0] * len(VERBS), [result.output for result in results]
    return [result.output for result in results]


def test_status_works_on_a_full_disk(workspace: Workspace, disk: SmallDisk) -> None:
    before = answers(workspace)
    disk.leave(0)
    after = answers(workspace)
    assert after[:2] == before[:2]
    assert "read 7 files" in after[4]


def test_status_works_on_a_read_only_disk(workspace: Workspace, disk: SmallDisk) -> None:
    before = answers(workspace)
    subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
    try:
        assert answers(workspace)[:2] == before[:2]
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk.folder)], check=True)


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = make_workspace(tmp_path, poll_s=0.0)
    with Journal.open(made, "command-1") as journal:
        for stage, job in ((PREPARE, "7"), (TRAIN, "8")):
            journal.append(StageSubmitted(), stage=stage.id, job=job)
        journal.append(ChainSubmitted(cluster="here"), chain="base")
    return made


def status_of(workspace: Workspace, site: Site) -> Status:
    def ask(question: Question) -> Reading:
        return read_jobs(workspace, question._replace(every_s=0.0), Slurm(site))

    return Monitor(workspace, ask=ask).look()


def test_while_squeue_is_down_jobs_keep_their_last_state_with_its_age(submitted: Workspace) -> None:
    site = Site(submitted)
    site.queue = [{"job": "7", "state": "RUNNING"}, {"job": "8", "state": "PENDING", "reason": "Priority"}]
    first = status_of(submitted, site)
    site.down = {"squeue", "sacct"}
    later = status_of(submitted, site)
    assert [row.state for row in later.chains[0].stages] == [row.state for row in first.chains[0].stages]
    assert later.queue_s == first.queue_s
    (warning,) = later.warnings
    assert re.fullmatch(r"squeue failed \(.*\): jobs are shown as the queue was \d+s ago", warning)


def test_the_end_of_a_job_is_queried_once_and_known_while_sacct_is_down(submitted: Workspace) -> None:
    site = Site(submitted)
    site.queue = [{"job": "8", "state": "PENDING", "reason": "Dependency"}]
    site.accounts = [{"job": "7", "state": "OUT_OF_MEMORY", "submitted": "5", "ended": str(int(time.time()))}]
    assert status_of(submitted, site).chains[0].stages[0].state == "failed"
    site.down = {"sacct"}
    later = status_of(submitted, site)
    assert later.chains[0].stages[0].state == "failed"
    assert (site.calls["sacct"], later.warnings) == (1, ())
