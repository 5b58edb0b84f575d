"""Read the energy counters of this node's GPUs through NVML, behind an interface that tests can replace.

NVML counts a board's energy since its driver was loaded, in millijoules (Volta and later). Older and virtual boards and
slices (MIG) have no counter of their own: for a board its power is sampled, and a slice gets its share of the board's
energy. Anything that a device does not support becomes a reason in its reading, never an error.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from detour.accounting.allocation import slice_share, visible_gpus


class GpuReading(NamedTuple):
    """One GPU at one instant; None for values that it did not report."""

    uuid: str
    counter_j: float | None
    """Energy of the whole board since its driver was loaded."""
    power_w: float | None
    """Power of the whole board."""
    share: float = 1.0
    """Share of the board, below 1 for a slice."""
    limit_w: float | None = None
    """Power limit of the board."""
    reason: str | None = None


class Counters(Protocol):
    """What the sampler reads; creating it or reading may fail or hang."""

    version: str | None
    """Version of the driver."""

    def read(self) -> list[GpuReading]: ...


class _Gpu(NamedTuple):
    uuid: str
    board: str
    """UUID of the board: the GPU's own, except for slices."""
    share: float
    limit_w: float | None
    reason: str | None = None


class NvmlCounters:
    """The GPUs that this process may use; none on a machine without a driver.

    `nvml` is the module `pynvml` or a substitute for it. Handles are looked up at each reading, since a device that
    fell off the bus may come back.
    """

    def __init__(self, visible: str | None, nvml: Any = None) -> None:
        """`visible` is as in CUDA_VISIBLE_DEVICES, None for all."""
        self._nvml = nvml = importlib.import_module("pynvml") if nvml is None else nvml
        self.version: str | None = None
        self._gpus: tuple[_Gpu, ...] = ()
        try:
            nvml.nvmlInit()
        except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded):
            return
        self.version = self._answer(nvml.nvmlSystemGetDriverVersion)
        self._gpus = tuple(self._slices(visible) if "MIG-" in (visible or "") else self._boards(visible))

    def read(self) -> list[GpuReading]:
        return [self._read(gpu) for gpu in self._gpus]

    def _boards(self, visible: str | None) -> Iterator[_Gpu]:
        """Yield the visible boards. One that does not answer keeps its index, by which others may be named."""
        nvml = self._nvml
        handles = [self._answer(nvml.nvmlDeviceGetHandleByIndex, index) for index in range(nvml.nvmlDeviceGetCount())]
        named = [None if handle is None else self._answer(nvml.nvmlDeviceGetUUID, handle) for handle in handles]
        uuids = [name or f"index {index}" for index, name in enumerate(named)]
        for index in visible_gpus(visible, uuids) or ():
            if named[index] is None:
                yield _Gpu(uuids[index], uuids[index], 1.0, None, "does not answer")
                continue
            split = self._answer(nvml.nvmlDeviceGetMigMode, handles[index])
            reason = "is split into slices (MIG), of which none is named" if split and split[0] else None
            yield _Gpu(uuids[index], uuids[index], 1.0, self._limit_w(handles[index]), reason)

    def _slices(self, visible: str | None) -> Iterator[_Gpu]:
        nvml = self._nvml
        for name in filter(None, (part.strip() for part in (visible or "").split(","))):
            try:
                handle = nvml.nvmlDeviceGetHandleByUUID(name)
                board = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
                yield _Gpu(name, nvml.nvmlDeviceGetUUID(board), slice_share(nvml, handle), self._limit_w(board))
            except nvml.NVMLError as error:
                yield _Gpu(name, name, 1.0, None, f"is a slice (MIG) of unknown size ({error})")

    def _read(self, gpu: _Gpu) -> GpuReading:
        counter_j = power_w = None
        reason = gpu.reason
        if reason is None:
            try:
                handle = self._nvml.nvmlDeviceGetHandleByUUID(gpu.board)
                counter_mj = self._supported(self._nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
                power_mw = self._supported(self._nvml.nvmlDeviceGetPowerUsage, handle)
                counter_j = None if counter_mj is None else counter_mj / 1000
                power_w = None if power_mw is None else power_mw / 1000
                reason = None if counter_j is not None else "has no energy counter"
            except self._nvml.NVMLError as error:
                reason = str(error)
        return GpuReading(gpu.uuid, counter_j, power_w, gpu.share, gpu.limit_w, reason)

    def _limit_w(self, handle: Any) -> float | None:
        limit_mw = self._answer(self._nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
        return None if limit_mw is None else limit_mw / 1000

    def _supported(self, question: Callable[..., Any], handle: Any) -> Any:
        """Query a device, None if it does not support the query; other errors are raised."""
        try:
            return question(handle)
        except self._nvml.NVMLError_NotSupported:
            return None

    def _answer(self, question: Callable[..., Any], *about: Any) -> Any:
        """Query NVML, None for any error."""
        try:
            return question(*about)
        except self._nvml.NVMLError:
            return None


def node_counters() -> NvmlCounters:
    return NvmlCounters(os.environ.get("CUDA_VISIBLE_DEVICES"))
