from __future__ import annotations

from pathlib import Path

import pytest

from detour.ledger import process
from detour.ledger.process import user_name
from detour.ledger.workspace import Workspace
from detour.orchestration.slurm import WorkspaceLedger, command_journal
from detour.scheduler.sent import Sent
from detour.scheduler.tags import Tag

LABELS = {"prepare-0": "prepare", "pretrain-1": "pretrain clm"}
THEIRS = Sent(Tag("w", "prepare-0", 1, "s"), (("prepare-0",),), job_id="7", committed=True, owner="alice")


def wrote(workspace: Workspace, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(process, "user_name", lambda: user)
        command_journal(workspace).close()


def test_jobs_may_be_of_whoever_wrote_to_the_ledger_and_has_an_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "daemon")
    monkeypatch.setenv("LOGNAME", "daemon")
    workspace = Workspace(tmp_path)
    with command_journal(workspace) as journal:
        ledger = WorkspaceLedger(workspace, journal)
        assert ledger.users() == [user_name()] != ["daemon"]
        for user in ("nobody", "nobody", "of-another-machine", "root,nobody", "", "\0"):
            wrote(workspace, user, monkeypatch)
        assert ledger.users() == [user_name(), "nobody"]
