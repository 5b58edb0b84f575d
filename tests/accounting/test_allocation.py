"""What an attempt holds, read from its environment."""

from __future__ import annotations

import os

import pytest

from detour.accounting.allocation import Allocation, held_cpus, read_allocation, sum_per_node, visible_gpus
from tests.accounting.fake_nvml import Board, FakeNvml, Slice

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
def test_run_lengths_of_slurm_are_expanded(text: str | None, cpus: int | None) -> None:
    assert sum_per_node(text) == cpus


SLICED = {"SLURM_JOB_ID": "1", "SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": "MIG-0f0f, MIG-1a1a"}


def test_slices_that_slurm_counts_as_gpus_are_their_share_of_a_board() -> None:
    board = Board("GPU-0", mig=True)
    nvml = FakeNvml([board], [Slice("MIG-0f0f", board, 1), Slice("MIG-1a1a", board, 3)])
    held = read_allocation(SLICED, nvml)
    assert (held.gpus, held.slices) == (None, 2)
    assert held.boards == pytest.approx(4 / 7)
    alone = read_allocation({"CUDA_VISIBLE_DEVICES": "MIG-0f0f"}, nvml)
    assert (alone.gpus, alone.slices) == (None, 1)
    assert alone.boards == pytest.approx(1 / 7)


def test_slices_of_unknown_size_are_unknown() -> None:
    for nvml in (FakeNvml([Board("GPU-0", mig=True)]), FakeNvml([], driver=False)):
        held = read_allocation(SLICED, nvml)
        assert (held.gpus, held.slices, held.boards) == (None, 2, None)


def test_slurm_variables_give_the_totals_of_all_nodes() -> None:
    environment = {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_JOB_CPUS_PER_NODE": "96(x2)",
        "SLURM_MEM_PER_NODE": "1024",
        "SLURM_CLUSTER_NAME": "slurm",
        "DETOUR_CLUSTER": "jean-zay",
    }
    expected = Allocation(gpus=8, cpus=192, ram_gb=2048 * 2**20 / 1e9, nodes=2, cluster="jean-zay")
    assert read_allocation(environment) == expected
    del environment["SLURM_GPUS_ON_NODE"]
    assert read_allocation(environment | {"SLURM_JOB_GPUS": "0,1"}).gpus == 4
    assert read_allocation({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": ""}) == Allocation(0, None, None)


@pytest.mark.parametrize(
    ("memory", "ram_mib"),
    [
        ({"SLURM_MEM_PER_NODE": "1024"}, 2048),
        ({"SLURM_MEM_PER_CPU": "5000"}, 240_000),
        ({"SLURM_MEM_PER_GPU": "7168"}, 57_344),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({}, None),
    ],
)
def test_memory_is_known_by_whatever_unit_slurm_grants_it(memory: dict[str, str], ram_mib: int | None) -> None:
    sizes = {"SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_CPUS_PER_NODE": "24(x2)"}
    held = read_allocation({"SLURM_JOB_ID": "1", **sizes, **memory})
    assert held.ram_gb == (None if ram_mib is None else ram_mib * 2**20 / 1e9)


def test_without_slurm_the_whole_machine_is_held() -> None:
    held = read_allocation({"CUDA_VISIBLE_DEVICES": ""})
    assert held.cpus == len(os.sched_getaffinity(0))
    assert (held.gpus, held.cluster) == (0, "local")
    assert held.ram_gb is not None
    assert held.ram_gb > 0.1


def test_local_jobs_with_a_thread_limit_hold_their_share() -> None:
    present = len(os.sched_getaffinity(0))
    whole = read_allocation({"CUDA_VISIBLE_DEVICES": ""})
    share = read_allocation({"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "SUBMITIT_LOCAL_NTASKS": "1"})
    assert whole.ram_gb is not None
    assert share.cpus == 1
    assert share.ram_gb == pytest.approx(whole.ram_gb / present, abs=1e-3)
    assert held_cpus({"OMP_NUM_THREADS": "1", "SUBMITIT_LOCAL_NTASKS": "1000"}) == present
    assert held_cpus({"OMP_NUM_THREADS": "1", "SLURM_JOB_ID": "7"}) == present
