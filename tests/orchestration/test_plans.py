"""Mistakes that are refused before anything runs, because they would only show hours later."""

from __future__ import annotations

import pytest

import detour
from detour.errors import UserError
from detour.orchestration import plans


def test_a_logger_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "find_spec", {"tensorboard": "here"}.get)
    plans.check_runnable(detour.plan("quickstart", "training.loggers=[tensorboard]"))
    with pytest.raises(UserError, match=r"training\.loggers: wandb is not installed: `pip install wandb`"):
        plans.check_runnable(detour.plan("quickstart", "training.loggers=[tensorboard, wandb]"))
