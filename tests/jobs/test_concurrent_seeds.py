"""Seeds that share a GPU or cores: the number of processes, the share of each, and their joint exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.errors import DetourError
from detour.jobs import environment
from detour.jobs.concurrent_seeds import joint_exit_code, processes_for, run_at_once, shares

ONE_GPU = {"CUDA_VISIBLE_DEVICES": "0"}


def test_a_gpu_runs_as_many_seeds_as_it_has_cores_and_at_most_three() -> None:
    assert [processes_for(9, cores, ONE_GPU) for cores in (1, 4, 8, 12, 24)] == [1, 1, 2, 3, 3]
    assert processes_for(2, 24, ONE_GPU) == 2


def test_with_several_gpus_one_process_runs_all_seeds() -> None:
    assert processes_for(9, 24, {"CUDA_VISIBLE_DEVICES": "0,1"}) == 1


def many() -> int:
    return 99


@pytest.mark.parametrize("variables", [{}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_without_a_gpu_as_many_seeds_run_at_once_as_there_are_cores(variables: dict[str, str]) -> None:
    assert [processes_for(3, cores, variables, many) for cores in (1, 2, 3, 8)] == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("threads", "processes"), [("1", 8), ("2", 4), ("4", 2), ("8", 1), ("16", 1), ("0", 8), ("", 8)]
)
def test_without_a_gpu_each_seed_has_the_requested_threads(threads: str, processes: int) -> None:
    assert processes_for(16, 8, {"OMP_NUM_THREADS": threads}, many) == processes


def test_next_to_a_gpu_that_may_not_be_ours_one_process_runs_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "present_gpus", lambda: 1)
    assert processes_for(3, 8, {}, many) == 1
    assert processes_for(3, 8, {"CUDA_VISIBLE_DEVICES": ""}, many) == 3


@pytest.mark.parametrize(("fitting", "processes"), [(0, 1), (1, 1), (2, 2), (5, 3)])
def test_without_a_gpu_memory_limits_the_seeds_at_once(fitting: int, processes: int) -> None:
    assert processes_for(3, 8, {}, lambda: fitting) == processes


def test_the_number_can_be_given_and_must_be_positive() -> None:
    assert processes_for(9, 1, {"DETOUR_SEEDS_AT_ONCE": "5"}) == 5
    assert processes_for(3, 1, {"DETOUR_SEEDS_AT_ONCE": "5"}) == 3
    for wrong in ("0", "-1", "many", ""):
        with pytest.raises(DetourError, match="give a number of processes"):
            processes_for(3, 1, {"DETOUR_SEEDS_AT_ONCE": wrong})


@given(st.integers(1, 30), st.integers(1, 8))
def test_each_seed_is_in_one_share_and_shares_differ_by_at_most_one(count: int, processes: int) -> None:
    stages = [str(number) for number in range(count)]
    parts = shares(stages, min(count, processes))
    assert sorted(stage for part in parts for stage in part) == sorted(stages)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("codes", "joint"),
    [([0, 0], 0), ([0, 86, 85], 85), ([86, 1], 1), ([86, 0], 86), ([0, 87, 1], 87), ([0, 1], 1), ([-9, 0], 137)],
)
def test_the_joint_exit_code_ends_the_job_for_good_only_if_another_attempt_would_help_no_seed(
    codes: list[int], joint: int
) -> None:
    assert joint_exit_code(codes) == joint


def test_a_signal_reaches_every_process_and_a_failing_one_stops_no_other(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "if place.name == 'bad': sys.exit(86)\n"
        "signal.signal(signal.SIGUSR2, lambda *_: sys.exit(85))\n"
        "place.touch()\n"
        "signal.pause()\n"
    )
    places = [tmp_path / name for name in ("a", "b")]

    def ask() -> None:
        while not all(place.exists() for place in places):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR2)

    asking = threading.Thread(target=ask)
    asking.start()
    code = run_at_once([sys.executable, "-c", program], [[str(place)] for place in (*places, tmp_path / "bad")])
    asking.join()
    assert code == 85


def test_a_signal_while_the_processes_are_started_reaches_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Signalled(subprocess.Popen[bytes]):
        def __init__(self, command: list[str]) -> None:
            super().__init__(command)
            os.kill(os.getpid(), signal.SIGUSR2)

    monkeypatch.setattr(subprocess, "Popen", Signalled)
    assert run_at_once(["sleep"], [["5"], ["5"]]) == 128 + signal.SIGUSR2
