"""A full disk is waited for, whichever call reports it; every other error is raised unchanged."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from detour import disk
from detour.checkpoints.trainer_state import TrainerState, write_trainer_state
from detour.disk import is_out_of_room, with_room
from detour.errors import NoRoom


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "ROOM_POLL_S", 0.01)
    monkeypatch.setattr(disk, "ROOM_PATIENCE_S", 0.2)


def failing(times: int, number: int) -> Callable[[], str]:
    """Fail with this error so often."""
    left = [number] * times

    def write() -> str:
        if left:
            raise OSError(left.pop(), "no")
        return "written"

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_temporarily_full_disk_is_waited_for_and_reported_once(number: int) -> None:
    shown: list[str] = []
    assert with_room(failing(3, number), shown.append) == "written"
    assert len(shown) == 1


def test_a_disk_that_stays_full_ends_in_one_sentence() -> None:
    with pytest.raises(NoRoom, match=r"no room left on the disk .*: free some space, or raise the quota"):
        with_room(failing(1000, errno.ENOSPC), lambda _: None)


def test_a_process_that_is_asked_to_stop_does_not_wait() -> None:
    began_s = time.monotonic()
    with pytest.raises(NoRoom):
        with_room(failing(1000, errno.ENOSPC), lambda _: None, lambda: True)
    assert time.monotonic() - began_s < disk.ROOM_PATIENCE_S


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES])
def test_other_errors_are_not_waited_for(number: int) -> None:
    with pytest.raises(OSError, match="no"):
        with_room(failing(1, number), lambda _: None)


def test_the_error_of_torch_on_a_full_disk_is_recognized() -> None:
    state = TrainerState({"weight": torch.zeros(300_000)}, None, 1, 1)
    with pytest.raises((RuntimeError, OSError)) as error:
        write_trainer_state(Path("/dev/full"), state)
    assert is_out_of_room(error.value)


def test_a_full_disk_behind_another_error_is_recognized() -> None:
    hidden = RuntimeError("unexpected pos")
    hidden.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_out_of_room(hidden)


def test_the_error_of_numpy_on_a_full_disk_is_recognized() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="requested") as error:
        np.zeros(300_000).tofile(full)
    assert is_out_of_room(error.value)


def test_the_error_of_safetensors_on_a_full_disk_is_recognized() -> None:
    assert is_out_of_room(RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert not is_out_of_room(RuntimeError("Error while serializing: I/O error: Input/output error (os error 5)"))
