"""Forked processes that share the data read by the job."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from detour.jobs.forked_seeds import run_forked


def wait_for(*places: Path) -> None:
    while not all(place.exists() for place in places):
        time.sleep(0.02)


def test_data_read_before_the_fork_is_shared_by_all_processes(tmp_path: Path) -> None:
    known: list[str] = []

    def run(share: Sequence[str]) -> int:
        (tmp_path / share[0]).write_text(f"{known} {os.getpid()}")
        return 0

    assert run_forked(run, [["a", "b"], ["c"]], lambda: known.append("read")) == 0
    written = [(tmp_path / name).read_text().split() for name in ("a", "c")]
    assert [text for text, _ in written] == ["['read']"] * 2
    assert len({os.getpid(), *(int(pid) for _, pid in written)}) == 3


@pytest.mark.parametrize(("codes", "joint"), [([0, 0], 0), ([86, 85], 85), ([0, 87], 87)])
def test_the_exit_codes_of_all_are_joined(codes: list[int], joint: int) -> None:
    assert run_forked(lambda share: int(share[0]), [[str(code)] for code in codes], lambda: None) == joint


def test_a_failing_process_leaves_the_others_running(tmp_path: Path) -> None:
    def run(share: Sequence[str]) -> int:
        if share[0] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if share[0] == "wrong":
            raise ValueError
        time.sleep(0.2)
        (tmp_path / share[0]).touch()
        return 0

    assert run_forked(run, [["killed"], ["wrong"], ["right"]], lambda: None) == 128 + signal.SIGKILL
    assert (tmp_path / "right").exists()


def test_data_that_cannot_be_read_before_the_fork_is_read_by_each_process() -> None:
    def read() -> None:
        raise FileNotFoundError("labels.csv")

    assert run_forked(lambda _: 0, [["a"], ["b"]], read) == 0


def test_a_signal_reaches_each_process(tmp_path: Path) -> None:
    def run(share: Sequence[str]) -> int:
        signal.signal(signal.SIGUSR2, lambda *_: sys.exit(85))
        (tmp_path / share[0]).touch()
        signal.pause()
        return 0

    def ask() -> None:
        wait_for(tmp_path / "a", tmp_path / "b")
        os.kill(os.getpid(), signal.SIGUSR2)

    asking = threading.Thread(target=ask)
    asking.start()
    assert run_forked(run, [["a"], ["b"]], lambda: None) == 85
    asking.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_while_reading_ends_the_processes_as_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    def run(_: Sequence[str]) -> int:
        time.sleep(10)
        (tmp_path / "ran").touch()
        return 0

    released = threading.Event()
    waiting = threading.Thread(target=released.wait)  # signals are not blocked there
    waiting.start()
    assert run_forked(run, [["a"], ["b"]], lambda: os.kill(os.getpid(), number)) == 85
    released.set()
    waiting.join()
    assert not (tmp_path / "ran").exists()
