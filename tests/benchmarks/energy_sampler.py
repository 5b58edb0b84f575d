"""The cost of the energy sampler per training step, compared with a bare loop in the same run.

    python -m tests.benchmarks.energy_sampler [SECONDS]

Four GPUs of a fake NVML; thread, journal and files are real. Rounds with and without a sampler alternate, and the CPU
time of the whole process is compared, because wall time means nothing on a busy machine. First at the shipped interval;
then 100 times as often, which shows the cost of one reading if that of the shipped interval is too small to measure.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from detour.accounting.nvml import NvmlCounters
from detour.accounting.sampler import INTERVAL_S, EnergySampler
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from tests.accounting.fake_nvml import four_boards

STEP_S = 0.3
"""CPU time of a step here; that of the recipes on a node of H100 is 3.9 s."""
LIMIT = 0.001


def work(cpu_s: float) -> None:
    end_s = time.thread_time() + cpu_s
    while time.thread_time() < end_s:
        sum(range(1000))


def beside_s(journal: Journal, steps: int, interval_s: float | None) -> float:
    """CPU time of all other threads per step, in seconds."""
    nvml = four_boards()
    sampler = (
        nullcontext()
        if interval_s is None
        else EnergySampler(journal.append, counters=lambda: NvmlCounters(None, nvml), interval_s=interval_s)
    )
    began_s, own_s = time.process_time(), time.thread_time()
    with sampler:
        for _ in range(steps):
            work(STEP_S)
            nvml.advance(STEP_S)
        return (time.process_time() - began_s - (time.thread_time() - own_s)) / steps


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    steps = max(4, round(seconds / STEP_S / 6))
    taken: dict[str, list[float]] = {"bare": [], "shipped": [], "hundredfold": []}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        workspace.create()
        with Journal.open(workspace, "benchmark") as journal:
            for _ in range(2):
                for name, interval_s in (("bare", None), ("shipped", INTERVAL_S), ("hundredfold", INTERVAL_S / 100)):
                    taken[name].append(beside_s(journal, steps, interval_s))
    bare_s, shipped_s, hundredfold_s = (statistics.median(found) for found in taken.values())
    reading_s = (hundredfold_s - bare_s) / STEP_S * INTERVAL_S / 100
    print(f"{'':<34}{'CPU beside a step':>18}{'share':>10}")
    for name, beside in (("bare loop", bare_s), (f"sampler, every {INTERVAL_S:g} s", shipped_s)):
        print(f"{name:<34}{beside * 1e3:>15.3f} ms{beside / STEP_S:>10.4%}")
    print(f"{'sampler, 100 times as often':<34}{hundredfold_s * 1e3:>15.3f} ms{hundredfold_s / STEP_S:>10.4%}")
    share = reading_s / INTERVAL_S
    verdict = "below" if share < LIMIT else "ABOVE"
    cost = f"{reading_s * 1e3:.2f} ms of CPU every {INTERVAL_S:g} s, {share:.4%} of the time"
    print(f"one reading: {cost}: {verdict} {LIMIT:.1%}")


if __name__ == "__main__":
    main()
