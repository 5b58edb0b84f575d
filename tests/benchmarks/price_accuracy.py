"""Prices compared with actual trainings after one calibration run: `python -m tests.benchmarks.price_accuracy`.

Runs the quickstart's chain without its evaluations several times, each with another training seed, so that only the
corpus is shared: the first run calibrates, the others are compared with the price recorded before they ran.

The price is of wall time, so the machine must have nothing else to do; its load is printed. Even then a virtual
machine's cores change their speed with its neighbours: during the trainings a short bare loop is timed every second, in
CPU time, so that waiting for a core does not count. A second error is given in which a stage's time, and those from
which its price was made, are divided by the loop's time in the same period.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import fmean
from typing import Any

DETOUR = Path(sys.executable).parent / "detour"
RECIPE = Path(__file__).parents[2] / "configs" / "recipes" / "quickstart.yaml"


def detour(*arguments: str | Path) -> str:
    done = subprocess.run([str(DETOUR), *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout


def trainings(workspace: Path) -> list[dict[str, Any]]:
    """In the order in which they ended."""
    rows = json.loads(detour("prices", "-w", workspace, "--json"))["stages"]
    return [row for row in rows if row["kind"] == "pretrain"]


class BareLoop:
    """Times the same few milliseconds of arithmetic every second, until the block ends."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._time)

    def __enter__(self) -> BareLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _time(self) -> None:
        while not self._over.wait(1.0):
            start_s = time.thread_time()
            sum(number * number for number in range(200_000))
            self._taken.append((time.time(), time.thread_time() - start_s))

    def mean_s(self, start_s: float, end_s: float) -> float:
        return fmean(took_s for at_s, took_s in self._taken if start_s <= at_s <= end_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="behind the calibration run")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, BareLoop() as loop:
        workspace = Path(folder) / "workspace"
        for seed in range(options.runs + 1):
            chain = (f"name=run-{seed}", f"seeds.training={seed}", "benchmark=null", *options.overrides)
            detour("run", RECIPE, *chain, "-w", workspace, "--quiet")
            load = os.getloadavg()[0]
            print(f"run {seed}: {'calibration' if seed == 0 else 'priced'}, load average {load:.1f}", flush=True)
        earlier: dict[str, list[float]] = {}
        for row in trainings(workspace):
            loop_s = loop.mean_s(row["started_s"], row["started_s"] + row["elapsed_s"])
            calibrated_at = earlier.setdefault(row["label"], [])
            if calibrated_at:
                expected_s, error = row["expected_s"]["expected"], row["error"]
                steady = row["elapsed_s"] / expected_s * fmean(calibrated_at) / loop_s - 1
                print(
                    f"{row['label']:16} expected {expected_s:7.1f} s  took {row['elapsed_s']:7.1f} s  {error:+.1%}  "
                    f"bare loop {fmean(calibrated_at) * 1000:.1f} -> {loop_s * 1000:.1f} ms: {steady:+.1%}"
                )
            calibrated_at.append(loop_s)


if __name__ == "__main__":
    main()
