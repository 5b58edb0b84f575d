"""No variable of the user's shell reaches Slurm's clients: every input variable of every manual page is tried."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from detour.doctor.live_cluster import ask_cluster
from detour.scheduler.answers import CommandResult
from detour.scheduler.client_environment import NEEDED, client_environment, ignored, is_ignored
from detour.scheduler.commands import Slurm
from detour.scheduler.control import Control
from detour.scheduler.snapshot import add_accounting, take_snapshot
from tests.scheduler.desk import REQUESTS, Desk
from tests.scheduler.fake_slurm import FakeSlurm
from tests.support.slurm_variables import LISTED, WHERE_SLURM_IS, hostile_variables


@dataclass
class Recorder:
    """Replaces `subprocess.Popen`: a fake Slurm that also records the environment of each client."""

    fake: FakeSlurm
    calls: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def __call__(self, command: Sequence[str], env: Mapping[str, str], **_: Any) -> Any:
        self.calls.append((command[0], env))
        if command[0] in ("sinfo", "sacctmgr") or command[1] in ("show", "--oneliner"):
            return nullcontext(Ended(CommandResult(0, "A=1\n")))
        return nullcontext(Ended(self.fake(command, 1.0)))


@dataclass
class Ended:
    """A process that has ended."""

    result: CommandResult

    @property
    def returncode(self) -> int | None:
        return self.result.returncode

    def communicate(self, timeout: float) -> tuple[bytes, bytes]:
        assert timeout > 0
        return self.result.stdout.encode(), self.result.stderr.encode()


def all_verbs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Submit, submit again, show, hold, release, ask as the doctor does, cancel."""
    folder.mkdir()
    desk = Desk(folder)
    desk.slurm = Slurm()
    recorder = Recorder(desk.fake)
    monkeypatch.setattr("detour.scheduler.commands.subprocess.Popen", recorder)
    desk.submitter().submit(REQUESTS)
    desk.submitter().submit(REQUESTS)
    add_accounting(take_snapshot(desk.slurm, desk.users), desk.slurm, desk.users, ["1"], since_s=0.0)
    control = Control(desk.slurm, desk.ledger, "w", desk.users)
    stages = [stage for request in REQUESTS for stage in request.stages]
    control.hold(stages)
    control.release(stages)
    ask_cluster(desk.slurm, "me", lambda: 0.0)
    control.cancel(stages, "test")
    return recorder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ignored(os.environ):
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("bare")
def test_no_input_variable_of_slurms_clients_reaches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = all_verbs(tmp_path / "without", monkeypatch).calls
    for name, value in hostile_variables().items():
        monkeypatch.setenv(name, value)
    assert all_verbs(tmp_path / "with", monkeypatch).calls == usual


def test_every_input_variable_is_ignored_except_the_location_of_slurm() -> None:
    assert {name for name in LISTED if not is_ignored(name)} == WHERE_SLURM_IS
    assert WHERE_SLURM_IS < NEEDED


def test_variables_of_an_allocation_are_not_passed_to_jobs() -> None:
    inside = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "CUDA_VISIBLE_DEVICES": "0", "PATH": "/bin"}
    assert client_environment(inside, "sbatch").keys() == {"PATH", "LC_ALL", "LANG", "LANGUAGE"}


def test_devices_chosen_by_the_user_are_passed_to_jobs() -> None:
    assert client_environment({"CUDA_VISIBLE_DEVICES": "0"}, "sbatch")["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.parametrize("client", ["squeue", "sacct", "scontrol", "sbatch"])
def test_every_client_runs_in_the_same_locale(client: str) -> None:
    assert client_environment({"LC_ALL": "fr_FR.latin-1", "LC_TIME": "ja_JP"}, client)["LC_ALL"] == "C.UTF-8"


def test_ignored_variables_are_named_in_order() -> None:
    assert ignored(["SQUEUE_STATES", "PATH", "SLURM_CONF", "SBATCH_QOS"]) == ["SBATCH_QOS", "SQUEUE_STATES"]
