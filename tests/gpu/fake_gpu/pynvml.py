"""Stands in for the module of this name: one board whose power follows a known curve in real time.

`nvidia-smi` beside this tells SMI_FACTOR times that power, so that what the comparison must find is known.
"""

from __future__ import annotations

import math
import time
from typing import Any

from tests.accounting.fake_nvml import Board, FakeNvml

UUID = "GPU-made-up"
MEAN_W, SWING_W, PERIOD_S = 400.0, 250.0, 8.0
SMI_FACTOR = 1.04
_NVML = FakeNvml([Board(UUID)])


def power_w(at_s: float) -> float:
    return MEAN_W + SWING_W * math.sin(2 * math.pi * at_s / PERIOD_S)


def energy_j(at_s: float) -> float:
    """Since the epoch."""
    return MEAN_W * at_s + SWING_W * PERIOD_S / (2 * math.pi) * (1 - math.cos(2 * math.pi * at_s / PERIOD_S))


def __getattr__(name: str) -> Any:
    board, now_s = _NVML.boards[0], time.time()
    board.power_w, board.counter_j = power_w(now_s), energy_j(now_s)
    return getattr(_NVML, name)
