"""What an attempt holds, read from the environment without asking anyone."""

from __future__ import annotations

import os

import pytest

from detour.accounting.allocation import Allocation, read_allocation, sum_per_node, visible_gpus

UUIDS = ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-bbcc-3"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,0", [2, 0]),
        ("GPU-bbbb-2,GPU-aaaa-1", [1, 0]),
        ("GPU-bbc", [2]),
        ("GPU-bb", []),
        ("0,7,1", [0]),
        ("1,1", [1]),
        ("MIG-0f0f", None),
    ],
)
def test_visible_devices_become_indices(visible: str | None, expected: list[int] | None) -> None:
    assert visible_gpus(visible, UUIDS) == expected


@pytest.mark.parametrize(("text", "cpus"), [("96(x2),48", 240), ("4", 4), (None, None), ("", None), ("many", None)])
def test_slurm_run_lengths(text: str | None, cpus: int | None) -> None:
    assert sum_per_node(text) == cpus


def test_slurm_variables_give_the_totals_of_all_nodes() -> None:
    environment = {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_JOB_CPUS_PER_NODE": "96(x2)",
        "SLURM_MEM_PER_NODE": "1024",
    }
    expected = Allocation(gpus=8, cpus=192, ram_gb=2048 * 2**20 / 1e9, nodes=2)
    assert read_allocation(environment) == expected
    del environment["SLURM_GPUS_ON_NODE"]
    assert read_allocation(environment | {"SLURM_JOB_GPUS": "0,1"}).gpus == 4
    assert read_allocation({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": ""}) == Allocation(0, None, None)


def test_without_slurm_the_machine_is_held() -> None:
    held = read_allocation({"CUDA_VISIBLE_DEVICES": ""})
    assert held.cpus == len(os.sched_getaffinity(0))
    assert held.gpus == 0
    assert held.ram_gb is not None
    assert held.ram_gb > 0.1
