"""Rows of sacct about our own jobs in the ledger: queried once, stored for good, and equal in every figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from detour.accounting.attempts import usage_of
from detour.errors import UserError
from detour.ledger.events import JobAccepted, JobIntended, JobsCommitted
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration import accounts
from detour.orchestration.accounts import record_accounts
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import ACCOUNTING_FIELDS, SEPARATOR, Slurm
from detour.scheduler.tags import Tag
from tests.housekeeping.workspaces import stage_json
from tests.support.past import Past

START_S = 1_772_323_200.0


class Sacct:
    """Answers with these rows, or with an error."""

    def __init__(self, *rows: dict[str, str], code: int = 0) -> None:
        self.rows, self.code = rows, code

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:  # noqa: ARG002
        lines = [ACCOUNTING_FIELDS.values(), *([row.get(name, "") for name in ACCOUNTING_FIELDS] for row in self.rows)]
        text = "".join(f"{SEPARATOR.join(line)}\n" for line in lines)
        return CommandResult(self.code, text if self.code == 0 else "", "slurmdbd is down" if self.code else "")


@pytest.fixture
def tag(workspace: Workspace) -> Tag:
    """The tag of a job whose attempt ran from its tenth to its ninetieth second."""
    past = Past(workspace)
    past.attempt("pretrain-1", START_S + 10, 80.0, gpus=4, cpus=96, cluster="jean-zay", start_up_s=30.0)
    past.write()
    tag = Tag(workspace_id(workspace.root), "pretrain-1", 1, "s1")
    with Journal.open(workspace, "command-1") as journal:
        journal.append(JobIntended(tags=[str(tag)], tasks=[["pretrain-1"]], dependency=""))
        journal.append(JobAccepted(tags=[str(tag)], job_id="7"))
        journal.append(JobsCommitted(tags=[str(tag)]))
    return tag


def row(tag: Tag, **more: str) -> dict[str, str]:
    return {
        "job": "7",
        "raw_id": "7",
        "state": "COMPLETED",
        "exit": "0:0",
        "submitted": f"{START_S - 60:.0f}",
        "started": f"{START_S:.0f}",
        "ended": f"{START_S + 100:.0f}",
        "elapsed": "100",
        "nodes": "n1",
        "allocated": "cpu=96,gres/gpu=4",
        "cpus": "96",
        "n_nodes": "1",
        "name": str(tag),
        **more,
    }


def allocated_gpu_s(workspace: Workspace, view: LedgerView | None = None) -> list[float]:
    stage = (view or LedgerView(workspace)).state.stages["pretrain-1"]
    usages = [usage_of(stage.id, run, START_S + 9e6) for run in stage.runs]
    return [usage.allocated_s * (usage.gpus or 0) for usage in usages if usage]


def test_the_accounts_replace_the_hours_of_the_journal_for_good(workspace: Workspace, tag: Tag) -> None:
    assert allocated_gpu_s(workspace) == [320.0]
    slurm = Slurm(Sacct(row(tag)))
    assert record_accounts(view := LedgerView(workspace), slurm) == ()
    assert allocated_gpu_s(workspace) == allocated_gpu_s(workspace, view) == [400.0]
    record_accounts(LedgerView(workspace), slurm)
    assert slurm.calls == {"sacct": 1}, "known jobs are not queried again"


def test_a_run_without_events_counts_too(workspace: Workspace, tag: Tag) -> None:
    lost = row(tag, state="NODE_FAIL", started=f"{START_S - 50:.0f}", ended=f"{START_S - 20:.0f}", elapsed="30")
    record_accounts(LedgerView(workspace), Slurm(Sacct(lost, row(tag))))
    assert sorted(allocated_gpu_s(workspace)) == [120.0, 400.0]


def test_a_slice_is_recorded_as_its_share_of_a_board(workspace: Workspace, tag: Tag) -> None:
    record_accounts(LedgerView(workspace), Slurm(Sacct(row(tag, allocated="cpu=8,gres/gpu=1,gres/gpu:1g.10gb=1"))))
    assert allocated_gpu_s(workspace) == [pytest.approx(100 / 7)]


def test_without_sacct_the_hours_of_the_journal_are_used_and_labelled(workspace: Workspace, tag: Tag) -> None:
    del tag
    (output,) = record_accounts(LedgerView(workspace), Slurm(Sacct(code=1)))
    assert "slurmdbd is down" in output
    assert allocated_gpu_s(workspace) == [320.0]


@dataclass
class Site:
    """The sacct of two clusters that use the same job ids; None does not answer."""

    rows: dict[str, dict[str, str] | None]
    asked: list[str] = field(default_factory=list)

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        cluster = command[1].removeprefix("--clusters=")
        self.asked.append(cluster)
        rows = self.rows[cluster]
        return (Sacct(code=1) if rows is None else Sacct(rows))(command, timeout_s)


def send(workspace: Workspace, stage: str, slurm_cluster: str | None) -> dict[str, str]:
    """Plan a chain of one stage for a cluster and record its job 7 there; returns sacct's row of a run of 100 s.

    None is how an earlier version records it.
    """
    plan = {"chain": stage, "stages": [stage_json(stage, ())], "slurm_cluster": stage.rpartition("-")[2]}
    workspace.chain(stage).mkdir(parents=True)
    (workspace.chain(stage) / "plan.json").write_text(json.dumps(plan))
    tag = Tag(workspace_id(workspace.root), stage, 1, "s1")
    with Journal.open(workspace, f"command-{stage}") as journal:
        journal.append(
            JobIntended(tags=[str(tag)], tasks=[[stage]], dependency="", slurm_cluster=slurm_cluster)
            if slurm_cluster is not None
            else JobIntended(tags=[str(tag)], tasks=[[stage]], dependency="")
        )
        journal.append(JobAccepted(tags=[str(tag)], job_id="7"))
        journal.append(JobsCommitted(tags=[str(tag)]))
    return row(tag, cluster=slurm_cluster or stage.rpartition("-")[2])


def gpu_s(workspace: Workspace) -> dict[str, float]:
    return {
        stage: sum(usage.allocated_s * (usage.gpus or 0) for run in known.runs if (usage := usage_of(stage, run, 2e9)))
        for stage, known in LedgerView(workspace).state.stages.items()
    }


@pytest.mark.parametrize("recorded", [True, False])
def test_each_cluster_is_asked_once_about_its_own_jobs_even_if_they_share_an_id(
    workspace: Workspace, recorded: bool
) -> None:
    """Jobs of earlier versions have no cluster in the ledger: that of their chain's profile counts."""
    old = send(workspace, "pretrain-old", "old" if recorded else None)
    new = send(workspace, "pretrain-new", "new" if recorded else None) | {"allocated": "cpu=96,gres/gpu=8"}
    site = Site({"old": old, "new": new})
    assert record_accounts(LedgerView(workspace), Slurm(site)) == ()
    assert gpu_s(workspace) == {"pretrain-old": 400.0, "pretrain-new": 800.0}
    assert record_accounts(LedgerView(workspace), Slurm(site)) == ()
    assert sorted(site.asked) == ["new", "old"]


def test_a_cluster_that_does_not_answer_is_named_and_keeps_no_other_from_being_read(workspace: Workspace) -> None:
    site = Site({"old": send(workspace, "pretrain-old", "old"), "new": None})
    new = send(workspace, "pretrain-new", "new")
    assert record_accounts(LedgerView(workspace), Slurm(site)) == (
        "sacct of new failed (slurmdbd is down): hours not read before are those of the journals",
    )
    assert gpu_s(workspace) == {"pretrain-old": 400.0}
    site.rows["new"] = new
    assert record_accounts(LedgerView(workspace), Slurm(site)) == ()
    assert gpu_s(workspace) == {"pretrain-old": 400.0, "pretrain-new": 400.0}


def test_a_job_is_looked_for_where_it_was_sent_even_if_its_chain_is_now_planned_elsewhere(workspace: Workspace) -> None:
    site = Site({"old": send(workspace, "pretrain-new", "old")})
    assert record_accounts(LedgerView(workspace), Slurm(site)) == ()
    assert gpu_s(workspace) == {"pretrain-new": 400.0}


def test_a_shared_stage_without_a_recorded_cluster_is_asked_about_where_its_first_chain_is_planned(
    workspace: Workspace,
) -> None:
    site = Site({"old": send(workspace, "pretrain-old", None), "new": None})
    later = {"chain": "shares", "stages": [stage_json("pretrain-old", ())], "slurm_cluster": "new"}
    workspace.chain("shares").mkdir()
    (workspace.chain("shares") / "plan.json").write_text(json.dumps(later))
    assert record_accounts(LedgerView(workspace), Slurm(site)) == ()
    assert gpu_s(workspace) == {"pretrain-old": 400.0}


def test_a_reader_who_may_not_write_gets_the_hours_of_the_journals(
    workspace: Workspace, tag: Tag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Workspace) -> Journal:
        raise UserError("the ledger cannot be written (Permission denied)")

    monkeypatch.setattr(accounts, "command_journal", refused)
    (problem,) = record_accounts(LedgerView(workspace), Slurm(Sacct(row(tag))))
    assert "Permission denied" in problem
    assert allocated_gpu_s(workspace) == [320.0]
