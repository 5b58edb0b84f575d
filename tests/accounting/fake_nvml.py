"""The NVML of a fake machine, as `pynvml` shows it, on a clock that tests set; it knows each board's true energy."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):  # noqa: N801  as pynvml names it
    pass


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801
    pass


class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801
    pass


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801
    pass


@dataclass
class Board:
    uuid: str
    power_w: float = 600.0
    limit_w: float = 700.0
    has_counter: bool = True
    lost: bool = False
    mig: bool = False
    counter_j: float = 123_456.0
    """The counter of the driver, which runs since before the test."""
    true_j: float = 0.0


@dataclass
class Slice:
    uuid: str
    board: Board
    slices: int


@dataclass
class FakeNvml:
    boards: list[Board]
    slices: list[Slice] = field(default_factory=list)
    driver: bool = True
    NVMLError = NVMLError
    NVMLError_NotSupported = NVMLError_NotSupported
    NVMLError_LibraryNotFound = NVMLError_LibraryNotFound
    NVMLError_DriverNotLoaded = NVMLError_DriverNotLoaded

    def advance(self, seconds: float) -> None:
        for board in self.boards:
            board.true_j += board.power_w * seconds
            board.counter_j += board.power_w * seconds

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver:
            raise NVMLError_DriverNotLoaded

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.95"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Board:  # noqa: N802
        if self.boards[index].lost:
            raise NVMLError_GpuIsLost("GPU is lost")
        return self.boards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:  # noqa: N802
        known = {one.uuid: one for one in self.boards} | {one.uuid: one for one in self.slices}
        if uuid not in known:
            raise NVMLError("Not Found")
        return known[uuid]

    def nvmlDeviceGetUUID(self, board: Board) -> str:  # noqa: N802
        return board.uuid

    def nvmlDeviceGetMigMode(self, board: Board) -> tuple[int, int]:  # noqa: N802
        return int(board.mig), int(board.mig)

    def nvmlDeviceGetEnforcedPowerLimit(self, board: Board) -> float:  # noqa: N802
        return board.limit_w * 1000

    def nvmlDeviceGetTotalEnergyConsumption(self, board: Board) -> int:  # noqa: N802
        if board.lost:
            raise NVMLError_GpuIsLost("GPU is lost")
        if not board.has_counter:
            raise NVMLError_NotSupported
        return round(board.counter_j * 1000)

    def nvmlDeviceGetPowerUsage(self, board: Board) -> int:  # noqa: N802
        return round(board.power_w * 1000)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, one: Slice) -> Board:  # noqa: N802
        return one.board

    def nvmlDeviceGetAttributes(self, one: Slice) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpuInstanceSliceCount=one.slices)

    def nvmlDeviceGetMaxMigDeviceCount(self, _board: Board) -> int:  # noqa: N802
        return 7


def four_boards() -> FakeNvml:
    return FakeNvml([Board(f"GPU-{index}", power_w=500.0 + 50 * index) for index in range(4)])
