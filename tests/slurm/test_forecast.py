"""The history on which forecasts are based, from a real sacct."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import pytest

from detour.forecasting.own_history import read_history
from detour.forecasting.waits import Wait, shape_of
from detour.ledger.workspace import Workspace
from detour.scheduler.dependency import After
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.jobs import client, sbatch


def test_waits_are_read_without_time_on_hold_or_for_a_dependency(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ran = sbatch(slurm, "true", "--time=90")
    held = sbatch(slurm, "true", "--hold")
    later = sbatch(slurm, "true", dependency=After("afterok", held))
    looks, known = count(), dict[str, Wait]()

    def has_started() -> bool:
        """Asked each time, since the cache is a workspace's."""
        history = read_history(Workspace(tmp_path / f"w{next(looks)}"), client(slurm), time.time())
        assert history.missing is None
        known.update({wait.job: wait for wait in history.waits})
        return ran in known and known[ran].started_s is not None

    try:
        wait_until(has_started, "the start to be accounted")
    finally:
        slurm.run("scancel", held, later)
    assert (known[ran].shape, known[ran].account) == (shape_of(0, 5400), "abc@cpu")
    assert 0 <= (known[ran].started_s or 0.0) - known[ran].begun_s < 60
    assert held not in known
    assert later not in known
