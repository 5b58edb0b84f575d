from __future__ import annotations

import pytest

import detour.orchestration.submit as submit_module
from detour.ledger.process import user_name
from detour.scheduler.commands import Slurm
from tests.scheduler.fake_slurm import FakeSlurm


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """The Slurm that `submit` calls."""
    slurm = FakeSlurm(user=user_name())
    monkeypatch.setattr(submit_module, "Slurm", lambda **_: Slurm(slurm))
    return slurm
