from __future__ import annotations

import pytest

import detour.orchestration.dry_run as dry_run_module
import detour.orchestration.submit as submit_module
from detour.ledger.process import user_name
from detour.scheduler.commands import Slurm
from tests.scheduler.fake_slurm import FakeSlurm


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """The Slurm that `submit` calls, also for a dry run."""
    slurm = FakeSlurm(user=user_name())
    for module in (submit_module, dry_run_module):
        monkeypatch.setattr(module, "Slurm", lambda **_: Slurm(slurm))
    return slurm
