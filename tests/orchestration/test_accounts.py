"""Rows of sacct about our own jobs in the ledger: queried once, stored for good, and equal in every figure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from detour.accounting.attempts import usage_of
from detour.ledger.events import JobAccepted, JobIntended, JobsCommitted
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.accounts import record_accounts
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import ACCOUNTING_FIELDS, SEPARATOR, Slurm
from detour.scheduler.tags import Tag
from tests.support.past import Past

START_S = 1_772_323_200.0


class Sacct:
    """Answers with these rows, or with an error."""

    def __init__(self, *rows: dict[str, str], code: int = 0) -> None:
        self.rows, self.code = rows, code

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        del command, timeout_s
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
