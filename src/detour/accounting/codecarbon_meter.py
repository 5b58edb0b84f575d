"""Run codecarbon alongside an attempt and journal its figures as one labelled source of energy.

By default codecarbon writes nothing if its process is killed, calls `scontrol` and fails without it, counts 0 W for
GPUs named by UUID, multiplies by a PUE and prints to stderr. Here it only counts IT energy in memory (PUE 1, factor 0,
no output of its own) and starts in parallel with the work. Any failure becomes a reason in the journal, never an error.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import psutil

from detour.accounting.allocation import held_cpus, nvml_uuids, visible_gpus
from detour.environment import cpu_model
from detour.ledger.events import EnergyCounted

if TYPE_CHECKING:
    from detour.ledger.attempt import Attempt

T = TypeVar("T")

SAMPLE_S = 15.0
"""Seconds between readings of the counters; codecarbon also samples load and power every second."""
FLUSH_S = 30.0
"""Minimum seconds between two journalled figures; the end is always recorded."""
LONGEST_WAIT_S = 10.0
"""Maximum time that the end of an attempt waits for a tracker that is still starting."""


class EnergyMeter:
    """Counts energy from `__enter__` on, and journals cumulative `energy` events at each `flush` and at the end.

    Use it only in local rank 0, because it observes the whole machine. `flush` may be called from any thread at any
    time. It never raises and costs the caller milliseconds: the start (1 to 3 s) runs in a thread.
    """

    def __init__(self, attempt: Attempt, *, sample_s: float = SAMPLE_S, flush_s: float = FLUSH_S) -> None:
        self._attempt = attempt
        self._sample_s, self._flush_s = sample_s, flush_s
        self._flushed_s = float("-inf")
        self._tracker: _Tracker | None = None
        self._reason: str | None = None
        self._reason_recorded: str | None = None
        self._last = EnergyCounted(energy_kwh=None, cpu_kwh=None, gpu_kwh=None, ram_kwh=None, duration_s=None)
        self._lock = threading.RLock()
        self._starting = threading.Thread(target=self._start, name="energy-meter-start", daemon=True)

    def __enter__(self) -> EnergyMeter:
        self._starting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._starting.join(LONGEST_WAIT_S)
        with self._lock:
            self._flush_s = 0.0
            self.flush()
            if self._tracker is not None:
                self._guarded(self._tracker.stop)
                self._tracker = None
            elif self._reason is None:
                self._reason = f"codecarbon was not up within {LONGEST_WAIT_S:g} s of the end"
                self._record_reason()

    def flush(self) -> None:
        """Journal the energy so far; a kill loses only what comes after the last flush."""
        with self._lock:
            if time.monotonic() - self._flushed_s < self._flush_s:
                return
            figures = self._guarded(self._tracker.read) if self._tracker is not None else None
            if figures is not None:
                self._last, self._flushed_s = figures, time.monotonic()
                self._attempt.event(figures)
            elif self._reason is not None:
                self._record_reason()

    def _record_reason(self) -> None:
        """Journal once why there is no newer figure, with the last one."""
        if self._reason != self._reason_recorded:
            self._reason_recorded = self._reason
            label = {"method": "codecarbon", "tool": "codecarbon", "reason": self._reason}
            self._attempt.event(EnergyCounted(**self._last.to_json() | label))

    def _start(self) -> None:
        tracker = self._guarded(lambda: _Tracker(self._sample_s))
        with self._lock:
            self._tracker = tracker

    def _guarded(self, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except ModuleNotFoundError as error:
            self._reason = f"{(error.name or 'a module').partition('.')[0]} is not installed"
            return None
        except Exception as error:  # noqa: BLE001  metering must never end or disturb the work it meters
            self._reason = f"codecarbon: {error}" if isinstance(error, _NoFigure) else f"codecarbon: {error!r}"
            return None


class _NoFigure(Exception):
    """codecarbon appears to run, but gives no figure."""


class _Muffler(logging.Filter):
    """Suppresses codecarbon's log and keeps its last error, often the only hint at why there is no figure."""

    complaint: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            self.complaint = repr(record.exc_info[1])
        elif record.levelno >= logging.ERROR:
            self.complaint = record.getMessage()
        return False


class _Tracker:
    """A running codecarbon tracker, read through its own output handler interface. Raises _NoFigure or any error of
    codecarbon."""

    def __init__(self, sample_s: float) -> None:
        muffler = _Muffler()
        logging.getLogger("codecarbon").addFilter(muffler)
        import codecarbon.core.util
        import codecarbon.external.ram
        import cpuinfo
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.output_methods.base_output import BaseOutput
        from codecarbon.output_methods.emissions_data import EmissionsData

        class Latest(BaseOutput):  # type: ignore[misc]
            totals: EmissionsData | None = None

            def out(self, total: EmissionsData, delta: EmissionsData) -> None:  # noqa: ARG002
                self.totals = total

            def live_out(self, total: EmissionsData, delta: EmissionsData) -> None:
                """Ignore live output: the tracker is read at our own interval."""

        # With a job id it would run `scontrol`, which is missing in containers (then no hardware is found, silently),
        # loads the controller elsewhere, and gives counts of the whole job on each node.
        codecarbon.core.util.SLURM_JOB_ID = None
        codecarbon.external.ram.SLURM_JOB_ID = None
        if model := cpu_model():
            # It would start a Python, which starts another, to read the same name in half a second of a core.
            cpuinfo.get_cpu_info = lambda: {"brand_raw": model}
        self._muffler = muffler
        self._latest = Latest()
        self._gpus = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), nvml_uuids())
        self._mode = tracking_mode(held_cpus(), psutil.cpu_count(logical=False))
        self._tracker = OfflineEmissionsTracker(
            force_carbon_intensity_g_co2e_kwh=0.0,
            pue=1.0,
            output_methods=[],
            output_handlers=[self._latest],
            emissions_endpoint=None,
            api_call_interval=-1,
            allow_multiple_runs=True,
            tracking_mode=self._mode,
            measure_power_secs=sample_s,
            gpu_ids=self._gpus or [],
            log_level="critical",
        )
        self._tracker.start()
        self.read()

    def read(self) -> EnergyCounted:
        """Return cumulative figures since the start, in kWh and seconds, and how they were obtained."""
        self._latest.totals = None
        self._tracker.flush()
        totals = self._latest.totals
        if totals is None:
            raise _NoFigure(self._muffler.complaint or "no figure and no reason given")
        return EnergyCounted(
            energy_kwh=totals.energy_consumed if self._gpus is not None else None,
            cpu_kwh=totals.cpu_energy,
            gpu_kwh=totals.gpu_energy if self._gpus is not None else None,
            ram_kwh=totals.ram_energy,
            duration_s=totals.duration,
            method="codecarbon",
            scope="this machine" if self._mode == "machine" else "this process and its children",
            detail=describe(self._cpu_mode(), self._gpus, self._mode),
            cpu_model=totals.cpu_model,
            gpus=self._gpus,
            gpu_model=totals.gpu_model or None,
            tool="codecarbon",
            version=version("codecarbon"),
            reason=None if self._gpus is not None else "slices of a GPU (MIG): their energy is not known",
        )

    def stop(self) -> None:
        self._tracker.stop()

    def _cpu_mode(self) -> str | None:
        modes = (getattr(part, "_mode", None) for part in self._tracker._hardware)
        return next((str(mode) for mode in modes if mode), None)


def tracking_mode(held: int, physical_cores: int | None) -> str:
    """Return `machine` if this process holds every core, otherwise `process`, to exclude others on a shared node.

    Physical cores are compared, because with `--hint=nomultithread` a whole node has half its logical CPUs.
    """
    return "machine" if physical_cores is None or held >= physical_cores else "process"


def describe(cpu_mode: str | None, gpus: list[int] | None, mode: str) -> str:
    """Describe which parts were counted and which modelled."""
    cpu = {
        "intel_rapl": "CPU by RAPL counter" + ("" if mode == "machine" else " (whole packages)"),
        "cpu_load": "CPU by codecarbon's load model",
        "constant": "CPU by a constant share of its nominal power",
        None: "CPU not counted",
    }.get(cpu_mode, f"CPU by codecarbon's {cpu_mode}")
    gpu = "GPU slices not counted" if gpus is None else f"{len(gpus)} GPU by NVML counter" if gpus else "no GPU"
    return f"{cpu}, RAM by codecarbon's model, {gpu}"
