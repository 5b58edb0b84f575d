"""The GPUs of this machine that `detour run` uses: those present, limited to those that the user named."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.errors import UserError
from detour.orchestration import local_gpus
from detour.orchestration.local_gpus import named_gpus, present_gpus, usable_gpus

UUIDS = ("GPU-8f0a", "GPU-8f1b", "GPU-77cd")


@pytest.mark.parametrize(("listed", "given", "gpus"), [(0, 0, 0), (4, 4, 4), (0, 2, 2), (8, 1, 1), (2, 0, 2)])
def test_a_container_has_the_gpus_that_it_was_given(tmp_path: Path, listed: int, given: int, gpus: int) -> None:
    driver, devices = tmp_path / "driver", tmp_path / "dev"
    for folder in (driver, devices):
        folder.mkdir()
    for index in range(listed):
        (driver / f"0000:{index:02x}:00.0").mkdir()
    for name in (*(f"nvidia{index}" for index in range(given)), "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (devices / name).touch()
    assert present_gpus(driver, devices) == gpus


@pytest.mark.parametrize(
    ("visible", "named"),
    [
        ("1", ["1"]),
        ("2, 0", ["2", "0"]),
        ("GPU-77cd,GPU-8f0a", ["GPU-77cd", "GPU-8f0a"]),
        ("GPU-7,1", ["GPU-7", "1"]),
        ("MIG-0f0f,MIG-1a1a", ["MIG-0f0f"]),
        ("MIG-GPU-8f0a/1/0", ["MIG-GPU-8f0a/1/0"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("NoDevFiles", []),
        ("3", []),
        ("1,3,0", ["1"]),
        ("0,0,1", ["0"]),
        ("GPU-8f,0", []),
        ("GPU-none", []),
        ("0,MIG-0f0f", ["0"]),
    ],
)
def test_the_named_gpus_are_those_that_cuda_would_show(visible: str, named: list[str]) -> None:
    assert list(named_gpus(visible, present=3, uuids=UUIDS)) == named


@pytest.mark.parametrize("visible", ["0", "GPU-8f0a", "MIG-0f0f"])
def test_a_machine_without_gpus_names_none(visible: str) -> None:
    assert named_gpus(visible, present=0) == ()


def test_a_uuid_is_accepted_if_the_driver_lists_none() -> None:
    assert named_gpus("GPU-8f0a", present=1) == ("GPU-8f0a",)


def test_as_many_of_the_named_gpus_are_used_as_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_gpus, "present_gpus", lambda: 3)
    monkeypatch.setattr(local_gpus, "nvml_uuids", lambda: [])
    assert usable_gpus(None, {}) == ("0", "1", "2")
    assert usable_gpus(2, {}) == ("0", "1")
    with pytest.raises(UserError, match="--gpus 4: this machine has 3; ask for no more"):
        usable_gpus(4, {})
    named = {"CUDA_VISIBLE_DEVICES": "2,0"}
    assert usable_gpus(None, named) == ("2", "0")
    assert usable_gpus(1, named) == ("2",)
    assert usable_gpus(0, named) == ()
    with pytest.raises(UserError, match="--gpus 3: CUDA_VISIBLE_DEVICES='2,0' lets this command use 2 of"):
        usable_gpus(3, named)


def test_gpus_known_only_to_the_library_of_the_driver_can_be_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_gpus, "present_gpus", lambda: 0)
    monkeypatch.setattr(local_gpus, "nvml_uuids", lambda: ["GPU-1", "GPU-2"])
    assert usable_gpus(2, {}) == ("0", "1")
    with pytest.raises(UserError, match="--gpus 3: this machine has 2; ask for no more"):
        usable_gpus(3, {})
