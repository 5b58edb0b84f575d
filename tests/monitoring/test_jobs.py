"""What Slurm reports about open jobs, through a scripted runner that counts its calls."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from detour.launch.text.status import render_text
from detour.ledger.events import ChainSubmitted, StageDone, StageSubmitted
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.monitoring.jobs import read_jobs
from detour.monitoring.monitor import Monitor
from detour.monitoring.queries import Question, Reading, SeenJob
from detour.monitoring.status import StageRow
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import ACCOUNTING_FIELDS, QUEUE_FIELDS, Slurm
from detour.scheduler.tags import Tag
from tests.monitoring.workspaces import PREPARE, PROMOTE, TRAIN, make_workspace, mark_done
from tests.scheduler.fake_slurm import table


class Site:
    """squeue and sacct with the answers of a test."""

    def __init__(self, workspace: Workspace) -> None:
        self.tag = str(Tag(workspace_id(workspace.root), "unit", 1, "s"))
        self.queue: list[Mapping[str, str]] = []
        self.accounts: list[Mapping[str, str]] = []
        self.down: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.asked: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:  # noqa: ARG002
        self.calls[command[0]] += 1
        self.asked.append(command)
        if command[0] in self.down:
            return CommandResult(1, "", "error: Unable to contact slurm controller (connect failure)\n")
        fields, rows = (QUEUE_FIELDS, self.queue) if command[0] == "squeue" else (ACCOUNTING_FIELDS, self.accounts)
        return CommandResult(0, table(fields, [{"name": self.tag, "exit": "0:0", **row} for row in rows]))


class Viewer:
    def __init__(self, workspace: Workspace, site: Site) -> None:
        self.site = site
        self.monitor = Monitor(workspace, ask=lambda question: read_jobs(workspace, question, Slurm(site)))

    def rows(self) -> dict[str, StageRow]:
        (chain,) = self.monitor.look().chains
        return {row.id: row for row in chain.stages}


def seen(row: StageRow) -> list[SeenJob]:
    return [segment.seen for segment in row.segments if segment.seen]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Three stages submitted as jobs 7, 8 (with its spare segment 9) and 10; the poll interval is a minute."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = make_workspace(tmp_path, poll_s=60.0)
    monkeypatch.setenv("DETOUR_WORKSPACE", str(made.root))
    with Journal.open(made, "command-1") as journal:
        for stage, job in ((PREPARE, "7"), (TRAIN, "8"), (TRAIN, "9"), (PROMOTE, "10_3")):
            journal.append(StageSubmitted(), stage=stage.id, job=job)
        journal.append(ChainSubmitted(cluster="here"), chain="base")
    return made


def test_one_squeue_covers_all_jobs_and_one_sacct_those_that_left_the_queue(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [
        {"job": "8", "state": "RUNNING", "reason": "None"},
        {"job": "9", "state": "PENDING", "reason": "Dependency"},
        {"job": "10_[0-5%2]", "state": "PENDING", "reason": "Priority", "started": "1800000000"},
    ]
    site.accounts = [{"job": "7", "state": "CANCELLED by 1000", "submitted": "5"}]
    shown = Viewer(workspace, site).rows()
    assert [shown[stage.id].status for stage in (PREPARE, TRAIN, PROMOTE)] == ["cancelled", "running", "submitted"]
    assert site.calls == {"squeue": 1, "sacct": 1}
    assert "--jobs=7" in site.asked[1]
    assert [job.state for job in seen(shown[TRAIN.id])] == ["RUNNING", "PENDING"]
    assert shown[PROMOTE.id].starts_s == 1_800_000_000


def test_all_viewers_share_a_reading_during_the_poll_interval(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [{"job": job, "state": "PENDING"} for job in ("7", "8", "9", "10_[0-5]")]
    for _ in range(3):
        Viewer(workspace, site).rows()
    assert site.calls == {"squeue": 1}
    question = Question(["7"], ["me"], 0.0, every_s=0.0)
    assert read_jobs(workspace, question, Slurm(site)).jobs.keys() == {"7"}
    assert site.calls == {"squeue": 2}


def test_jobs_submitted_since_the_last_reading_are_queried_at_once(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [{"job": job, "state": "PENDING"} for job in ("7", "8", "9", "10_[0-5]", "11")]
    Viewer(workspace, site).rows()
    with Journal.open(workspace, "command-2") as journal:
        journal.append(StageSubmitted(), stage=PREPARE.id, job="11")
    assert {job.id for job in seen(Viewer(workspace, site).rows()[PREPARE.id])} == {"7", "11"}
    assert site.calls == {"squeue": 2}


@pytest.mark.parametrize("down", [{"squeue"}, {"squeue", "sacct"}])
def test_if_slurm_does_not_answer_nothing_is_failed_and_it_is_reported(workspace: Workspace, down: set[str]) -> None:
    site = Site(workspace)
    site.down = down
    viewer = Viewer(workspace, site)
    assert {row.status for row in viewer.rows().values()} == {"submitted"}
    assert "squeue failed" in viewer.monitor.look().warnings[0]


def test_without_accounts_an_ended_job_is_unknown(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [{"job": job, "state": "PENDING"} for job in ("8", "9", "10_[0-5]")]
    site.down = {"sacct"}
    viewer = Viewer(workspace, site)
    row = viewer.rows()[PREPARE.id]
    assert (row.status, row.state, row.reason_job) == ("unknown", "unknown", "7")
    assert row.reason == "the queue does not list it, nor do the accounts say how it ended"
    assert "sacct failed" in viewer.monitor.look().warnings[0]


def test_a_held_job_that_has_left_the_queue_is_no_longer_shown_as_held(workspace: Workspace) -> None:
    site = Site(workspace)
    others = [{"job": job, "state": "PENDING"} for job in ("8", "9", "10_[0-5]")]
    held = {"job": "7", "state": "PENDING", "reason": "JobHeldUser", "priority": "0", "started": "1800000000"}
    site.queue = [held, *others]
    row = Viewer(workspace, site).rows()[PREPARE.id]
    assert (row.state, row.starts_s) == ("held", None), "Slurm shows a requeued job's begin time also while it is held"
    site.queue, site.down = [*others], {"sacct"}
    question = Question(["7", "8", "9", "10_3"], ["me"], 0.0, every_s=0.0)
    read_jobs(workspace, question, Slurm(site))
    assert Viewer(workspace, site).rows()[PREPARE.id].state == "unknown"


def test_an_id_that_now_belongs_to_another_user_is_ignored(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [{"job": "7", "state": "RUNNING", "name": "detour:1:another:unit:1:s"}]
    assert Viewer(workspace, site).rows()[PREPARE.id].status == "unknown"


def test_slurm_is_not_queried_if_everything_is_done_or_nothing_submitted(workspace: Workspace, tmp_path: Path) -> None:
    def never(question: Question) -> Reading:
        raise AssertionError(question)

    for stage in (PREPARE, TRAIN, PROMOTE):
        mark_done(workspace, stage)
        with Journal.open(workspace, stage.id) as journal:
            journal.append(StageDone(), stage=stage.id, attempt=1)
    assert Monitor(workspace, ask=never).look().chains[0].is_done
    other = make_workspace(tmp_path / "other")
    assert Monitor(other, ask=never).look().chains[0].counts == {"planned": 3}


def test_the_text_states_what_a_job_waits_for_and_how_one_ended(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [
        {"job": "8", "state": "PENDING", "reason": "QOSMaxGRESPerUser", "started": "1800000000"},
        {"job": "9", "state": "PENDING", "reason": "Dependency"},
        {"job": "10_[0-5]", "state": "PENDING", "reason": "Dependency"},
    ]
    site.accounts = [{"job": "7", "state": "FAILED", "submitted": "5"}]
    lines = render_text(Viewer(workspace, site).monitor.look(), 120).splitlines()
    assert lines[2].startswith("✗ prepare")
    assert lines[3].strip() == "job 7: ended as FAILED before it started the stage"
    assert lines[4].strip() == "2 dependents not run; `detour why base`; once the cause is fixed: `detour retry base`"
    assert lines[5].startswith("○ pretrain clm")
    assert lines[6].startswith("○ promote clm")


@pytest.mark.parametrize("reason", ["launch failed requeued held", "job requeued in held state", "JobHoldMaxRequeue"])
def test_a_job_held_by_slurm_is_shown_with_the_command_that_releases_it(workspace: Workspace, reason: str) -> None:
    site = Site(workspace)
    site.queue = [{"job": job, "state": "PENDING"} for job in ("8", "9", "10_[0-5]")]
    site.queue.append({"job": "7", "state": "PENDING", "reason": reason, "priority": "0"})
    status = Viewer(workspace, site).monitor.look()
    row = status.chains[0].stages[0]
    assert (row.state, row.reason_job, row.reason) == ("held", "7", f"held by Slurm ({reason})")
    assert row.next_step == "`detour release base`; ask the site if it is held again"
    assert row.next_step in render_text(status, 120)


def test_an_array_cancelled_before_it_was_split_is_queried_by_its_own_id(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [{"job": job, "state": "PENDING"} for job in ("7", "8", "9")]
    site.accounts = [{"job": "10_[0-5]", "state": "CANCELLED by 1000"}]
    assert Viewer(workspace, site).rows()[PROMOTE.id].status == "cancelled"
    assert "--jobs=10" in site.asked[1]


def test_jobs_with_rewritten_names_and_comments_are_recognized_by_id(workspace: Workspace) -> None:
    site = Site(workspace)
    site.tag = "rewritten"
    script = "/w/submissions/pretrain-1/1-5f3a.sh"
    site.queue = [{"job": job, "state": "RUNNING", "script": script} for job in ("8", "9")]
    site.accounts = [{"job": "7", "state": "CANCELLED by 1000"}, {"job": "10_3", "state": "FAILED"}]
    rows = Viewer(workspace, site).rows()
    assert [rows[stage.id].status for stage in (PREPARE, TRAIN, PROMOTE)] == ["cancelled", "running", "failed"]


def test_if_one_job_has_the_tag_another_without_it_is_not_ours(workspace: Workspace) -> None:
    site = Site(workspace)
    site.queue = [{"job": job, "state": "PENDING"} for job in ("8", "9", "10_[0-5]")]
    site.accounts = [{"job": "7", "state": "FAILED", "name": "train.sh"}]
    assert Viewer(workspace, site).rows()[PREPARE.id].status == "unknown"


def test_the_poll_interval_is_that_of_the_queried_chains(workspace: Workspace) -> None:
    """Even if only another chain is shown, of a site with a shorter interval and no open job."""
    plan = json.loads((workspace.chain("base") / "plan.json").read_bytes())
    workspace.chain("other").mkdir()
    (workspace.chain("other") / "plan.json").write_text(
        json.dumps({**plan, "chain": "other", "stages": [], "poll_s": 1.0})
    )
    asked: list[Question] = []

    def ask(question: Question) -> Reading:
        asked.append(question)
        return Reading(0.0, {})

    Monitor(workspace, ask=ask).look(["other"])
    assert [question.every_s for question in asked] == [60.0]


def test_readings_of_two_clusters_are_not_confused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(workspace)
    site.queue = [{"job": "7", "state": "RUNNING", "reason": "None"}]
    question = Question(["7"], ["me"], since_s=0.0, every_s=60.0)
    for _ in range(2):
        for cluster in ("north", "south", None):
            read_jobs(workspace, question._replace(slurm_cluster=cluster), Slurm(site))
    assert site.calls["squeue"] == 3
    monkeypatch.setenv("SLURM_CONF", "/elsewhere/slurm.conf")
    read_jobs(workspace, question, Slurm(site))
    assert site.calls["squeue"] == 4


@pytest.mark.parametrize(("cluster", "name"), [(None, "squeue failed"), ("south", "squeue of south failed")])
def test_a_cluster_that_does_not_answer_is_named(workspace: Workspace, cluster: str | None, name: str) -> None:
    site = Site(workspace)
    site.down = {"squeue"}
    question = Question(["7"], ["me"], since_s=0.0, every_s=60.0, slurm_cluster=cluster)
    reading = read_jobs(workspace, question, Slurm(site))
    assert reading.missing[0].startswith(f"{name} (")
    assert reading.jobs == {}


def test_how_a_job_ended_is_asked_again_after_an_hour(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    site, question = Site(workspace), Question(["7"], ["me"], since_s=0.0, every_s=60.0)
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s)
    states = []
    for state, later_s in (("FAILED", 0.0), ("COMPLETED", 120.0), ("COMPLETED", 3600.0)):
        site.accounts = [{"job": "7", "raw_id": "7", "state": state, "submitted": "1", "started": "2", "ended": "3"}]
        now_s += later_s
        states.append(read_jobs(workspace, question, Slurm(site)).jobs["7"].state)
    assert states == ["FAILED", "FAILED", "COMPLETED"]


@pytest.mark.parametrize("job", ["\x1b[2J../../etc", "s53AY4Q", "", "7_x"])
def test_an_invalid_job_id_does_not_hide_other_jobs(workspace: Workspace, job: str) -> None:
    with Journal.open(workspace, "stranger") as journal:
        journal.append(StageSubmitted(), stage=PREPARE.id, job=job)
    site = Site(workspace)
    site.queue = [{"job": "8", "state": "RUNNING"}]
    assert Viewer(workspace, site).rows()[TRAIN.id].state == "running"
    assert job not in str(site.asked) or not job
