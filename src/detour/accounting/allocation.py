"""The allocation of an attempt: GPUs, cores and memory, from Slurm's variables or the machine itself."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any

_REPEATED = re.compile(r"^(\d+)(?:\(x(\d+)\))?$")


@dataclass(frozen=True, slots=True)
class Allocation:
    """Totals over all nodes; None if unknown."""

    gpus: int | None
    """Number of whole GPUs."""
    cpus: int | None
    """Logical CPUs, as counted by Slurm."""
    ram_gb: float | None
    nodes: int = 1
    cluster: str | None = None
    """Name of the profile the job was submitted with; `local` on a machine without Slurm."""
    slices: int | None = None
    """Number of slices (MIG) that it holds instead of GPUs."""
    boards: float | None = None
    """Total share of boards that the slices are."""


def read_allocation(environment: Mapping[str, str] = os.environ, nvml: Any = None) -> Allocation:
    """Return the allocation of this process, cheaply and without querying the scheduler.

    `nvml` is the module `pynvml`, or a substitute for it.
    """
    held = _slurm_allocation(environment) if "SLURM_JOB_ID" in environment else _own_allocation(environment)
    slices = slice_uuids(environment.get("CUDA_VISIBLE_DEVICES"))
    if not slices:
        return held
    boards = _boards(slices, nvml)
    return replace(
        held,
        gpus=None,
        slices=len(slices) * held.nodes,
        boards=None if boards is None else boards * held.nodes,
    )


def slice_uuids(cuda_visible_devices: str | None) -> list[str]:
    parts = [part.strip() for part in (cuda_visible_devices or "").split(",")]
    return [part for part in parts if part.startswith("MIG-")]


def slice_share(nvml: Any, handle: Any) -> float:
    """Return a slice's share of its board, by compute slices. Raises NVMLError."""
    board = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    slices = nvml.nvmlDeviceGetAttributes(handle).gpuInstanceSliceCount
    return float(min(1.0, slices / nvml.nvmlDeviceGetMaxMigDeviceCount(board)))


def _boards(slices: Sequence[str], nvml: Any) -> float | None:
    try:
        nvml = importlib.import_module("pynvml") if nvml is None else nvml
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        return fsum(slice_share(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid)) for uuid in slices)
    except (nvml.NVMLError, ZeroDivisionError):
        return None


def _own_allocation(environment: Mapping[str, str]) -> Allocation:
    held, present = held_cpus(environment), len(os.sched_getaffinity(0))
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    visible = visible_gpus(environment.get("CUDA_VISIBLE_DEVICES"), nvml_uuids())
    return Allocation(
        gpus=None if visible is None else len(visible),
        cpus=held,
        ram_gb=round(memory_bytes / 1e9 * held / present, 3),
        cluster=environment.get("DETOUR_CLUSTER", "local"),
    )


def held_cpus(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of this node's CPUs that this job holds: those it may run on, or fewer if it limits threads.

    The local executor runs small stages in parallel with one thread each; they share the machine and, in proportion,
    its memory.
    """
    present = len(os.sched_getaffinity(0))
    threads, tasks = environment.get("OMP_NUM_THREADS", ""), environment.get("SUBMITIT_LOCAL_NTASKS", "1")
    if not (threads.isdecimal() and tasks.isdecimal()) or "SLURM_JOB_ID" in environment:
        return present
    return max(1, min(present, int(threads) * int(tasks)))


def _slurm_allocation(environment: Mapping[str, str]) -> Allocation:
    nodes = int(environment.get("SLURM_JOB_NUM_NODES", environment.get("SLURM_NNODES", "1")))
    gpus, cpus = _slurm_gpus(environment, nodes), sum_per_node(environment.get("SLURM_JOB_CPUS_PER_NODE"))
    return Allocation(
        gpus=gpus,
        cpus=cpus,
        ram_gb=_slurm_ram_gb(environment, {"NODE": nodes, "CPU": cpus, "GPU": gpus}),
        nodes=nodes,
        cluster=environment.get("DETOUR_CLUSTER") or environment.get("SLURM_CLUSTER_NAME"),
    )


def _slurm_ram_gb(environment: Mapping[str, str], counts: Mapping[str, int | None]) -> float | None:
    """Return the job's memory, which Slurm sets in MiB per node, CPU or GPU, whichever was requested or is the default.

    0 stands for all of a node's memory, of unknown size.
    """
    for unit, count in counts.items():
        each_mib = environment.get(f"SLURM_MEM_PER_{unit}", "")
        if count is not None and each_mib.isdecimal() and int(each_mib):
            return int(each_mib) * count * 2**20 / 1e9
    return None


def _slurm_gpus(environment: Mapping[str, str], nodes: int) -> int | None:
    """Return the job's GPUs. Without GPU variables there are none, except on sites without a gres, where NVML tells."""
    if on_node := environment.get("SLURM_GPUS_ON_NODE"):
        return int(on_node) * nodes
    if indices := environment.get("SLURM_JOB_GPUS"):
        return len(indices.split(",")) * nodes
    visible = visible_gpus(environment.get("CUDA_VISIBLE_DEVICES"), nvml_uuids())
    return None if visible is None else len(visible) * nodes


def sum_per_node(text: str | None) -> int | None:
    """Sum Slurm's run-length list: `96(x2),48` is 240; None if missing or malformed."""
    matches = [_REPEATED.match(part.strip()) for part in text.split(",")] if text else []
    if not matches or not all(matches):
        return None
    return sum(int(match[1]) * int(match[2] or 1) for match in matches if match)


def visible_gpus(cuda_visible_devices: str | None, uuids: Sequence[str]) -> list[int] | None:
    """Return the NVML indices of the GPUs that this process may use; `uuids` are the machine's, in NVML order.

    codecarbon counts 0 W for the UUID form of CUDA_VISIBLE_DEVICES, so UUIDs (or prefixes) are converted to indices. As
    in CUDA, the list ends at the first invalid entry. None for slices (MIG), whose power NVML does not report.
    """
    if cuda_visible_devices is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for entry in (part.strip() for part in cuda_visible_devices.split(",")):
        if entry.startswith("MIG-"):
            return None
        if entry.isdecimal():
            matches = [int(entry)] if int(entry) < len(uuids) else []
        else:
            matches = [index for index, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
        if len(matches) != 1 or matches[0] in found:
            break
        found += matches
    return found


def nvml_uuids() -> list[str]:
    """Return the UUIDs of this machine's NVIDIA GPUs, in NVML order; empty without a driver."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        uuids = [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    except pynvml.NVMLError:
        return []
    return [uuid.decode() if isinstance(uuid, bytes) else str(uuid) for uuid in uuids]
