from __future__ import annotations

from pathlib import Path

import pytest

from detour.ledger import process
from detour.ledger.identity import workspace_id
from detour.ledger.journal import command_journal
from detour.ledger.process import user_name
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.slurm import WorkspaceLedger
from detour.scheduler.in_flight import stages_sent
from detour.scheduler.sent_jobs import Sent, fold
from detour.scheduler.tags import Tag
from tests.ledger.payloads import WRITTEN_BEFORE
from tests.support.past import Past

LABELS = {"prepare-0": "prepare", "pretrain-1": "pretrain clm"}
THEIRS = Sent(Tag("w", "prepare-0", 1, "s"), (("prepare-0",),), job_id="7", committed=True, owner="alice")


def write_as(workspace: Workspace, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(process, "user_name", lambda: user)
        command_journal(workspace).close()


def test_jobs_can_belong_to_every_user_with_an_account_who_wrote_to_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "daemon")
    monkeypatch.setenv("LOGNAME", "daemon")
    workspace = Workspace(tmp_path)
    with command_journal(workspace) as journal:
        ledger = WorkspaceLedger(workspace, journal)
        assert ledger.users() == [user_name()] != ["daemon"]
        for user in ("nobody", "nobody", "of-another-machine", "root,nobody", "", "\0"):
            write_as(workspace, user, monkeypatch)
        assert ledger.users() == [user_name(), "nobody"]


@pytest.mark.parametrize("kind", sorted(WRITTEN_BEFORE))
def test_a_foreign_record_stops_no_order_and_hides_no_job(tmp_path: Path, kind: str) -> None:
    """Thirteen of twenty-two such records once ended every Slurm verb of every user with a traceback."""
    workspace = Workspace(tmp_path)
    workspace.create()
    tag = str(Tag(workspace_id(workspace.root), "prepare-0", 1, "s"))
    past = Past(workspace)
    past.add("submit.intent", 1.7e9, {"tasks": [["prepare-0"]], "dependency": "", "tags": [tag]})
    past.add("submit.accepted", 1.7e9, {"job_id": "7", "tags": [tag]})
    for nonsense in (7, {"tags": tag}, [{"tag": tag}], None):
        past.add(kind, 1.7e9, dict.fromkeys(WRITTEN_BEFORE[kind], nonsense))
        past.add(f"{kind}.since", 1.7e9, WRITTEN_BEFORE[kind])
    past.write()
    with command_journal(workspace) as journal:
        ledger = WorkspaceLedger(workspace, journal)
        (sent,) = fold(ledger.events(), workspace_id(workspace.root)).values()
        assert ledger.users() == [user_name()]
    assert sent.job_id == "7"
    assert stages_sent(LedgerView(workspace)) == set()
