"""Energy of a real chain on this machine's GPUs: our NVML readings against nvidia-smi's power, side by side.

    python -m tests.benchmarks.energy_gpu [KEY=VALUE]...

Runs the quickstart (with the overrides given) in a temporary workspace, while `nvidia-smi` tells every board's power
five times a second, and compares, for each attempt, the difference of the energy counters with the integral of that
power between the same instants. Without an NVIDIA GPU it says "not measured" and ends well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from detour.accounting.traces import Trace, traces_of
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace

DETOUR = str(Path(sys.executable).parent / "detour")
EVERY_MS = 200
ASK = ["nvidia-smi", "--query-gpu=timestamp,uuid,power.draw", "--format=csv,noheader,nounits"]
STAMP = "%Y/%m/%d %H:%M:%S.%f"
"""In local time; lines may reach us late, in blocks."""
LONGEST_GAP_S = 2.0
"""A longer one in nvidia-smi's samples makes an interval that is not compared."""

Samples = dict[str, list[tuple[float, float]]]
"""UUID -> epoch seconds and watts."""


def has_gpu() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    found = subprocess.run(ASK, capture_output=True, text=True, check=False)
    return found.returncode == 0 and "GPU-" in found.stdout


@contextmanager
def power_samples() -> Iterator[Samples]:
    samples: Samples = {}
    process = subprocess.Popen([*ASK, f"--loop-ms={EVERY_MS}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout

    def collect() -> None:
        for line in lines:
            with suppress(ValueError):  # "[N/A]", or a line cut at the end
                stamp, uuid, watts = line.strip().split(", ")
                at_s = datetime.strptime(stamp, STAMP).astimezone().timestamp()
                samples.setdefault(uuid, []).append((at_s, float(watts)))

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        process.terminate()
        process.wait()
        thread.join()


def integral_j(samples: Sequence[tuple[float, float]], start_s: float, end_s: float) -> float | None:
    """By trapezoids, cut at both ends; None where samples are missing for some of it."""
    covered_s = energy_j = 0.0
    for (first_s, first_w), (last_s, last_w) in pairwise(samples):
        low_s, high_s = max(first_s, start_s), min(last_s, end_s)
        if high_s <= low_s or last_s - first_s > LONGEST_GAP_S:
            continue
        slope = (last_w - first_w) / (last_s - first_s)
        middle_w = first_w + slope * ((low_s + high_s) / 2 - first_s)
        energy_j += middle_w * (high_s - low_s)
        covered_s += high_s - low_s
    return energy_j if covered_s >= end_s - start_s - 2 * EVERY_MS / 1000 else None


def compared(name: str, trace: Trace, samples: Samples) -> tuple[float, float] | None:
    """Prints a row; the joules by either, where both know them."""
    counted_j = trace.points[-1].energy_j
    smi_j = integral_j(samples.get(trace.uuid, []), trace.start_s, trace.end_s)
    duration_s = trace.end_s - trace.start_s
    if smi_j is None or smi_j <= 0:
        print(f"{name:<30}{duration_s:>8.1f} s{counted_j:>12.0f} J{'not compared':>14}")
        return None
    print(f"{name:<30}{duration_s:>8.1f} s{counted_j:>12.0f} J{smi_j:>12.0f} J{counted_j / smi_j - 1:>+9.1%}")
    return counted_j, smi_j


def main() -> None:
    if not has_gpu():
        print("not measured: no NVIDIA GPU on this machine")
        return
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder, "workspace"))
        with power_samples() as samples:
            command = [DETOUR, "run", "quickstart", "-w", str(workspace.root), *sys.argv[1:]]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            time.sleep(2 * EVERY_MS / 1000)
        print(f"{'stage and GPU':<30}{'time':>10}{'counters':>14}{'nvidia-smi':>14}{'':>9}")
        found = [
            compared(f"{stage.id[:17]} {trace.uuid[:12]}", trace, samples)
            for stage in LedgerView(workspace).state.stages.values()
            for attempt in stage.attempts
            for trace in traces_of(attempt.readings.values())
        ]
    pairs = [pair for pair in found if pair is not None]
    if not pairs:
        print("not measured: no attempt has readings and samples of the same GPU")
        return
    counted_j, smi_j = (sum(column) for column in zip(*pairs, strict=True))
    print(f"{'sum of those compared':<40}{counted_j:>12.0f} J{smi_j:>12.0f} J{counted_j / smi_j - 1:>+9.1%}")


if __name__ == "__main__":
    main()
