"""The real codecarbon, run for real seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import cpuinfo
import pytest

from detour.accounting.codecarbon_meter import describe, tracking_mode
from detour.accounting.energy import Method
from detour.accounting.methods import tracked
from detour.ledger.events import EnergyCounted
from detour.site import Site

METERED = """
import json, sys, time
from detour.accounting.codecarbon_meter import EnergyMeter

class Recorder:
    def event(self, event):
        print(json.dumps([event.kind, event.to_json()]), flush=True)

with EnergyMeter(Recorder(), sample_s=1.0, flush_s={flush_s}) as meter:
    meter.flush()
    deadline = time.monotonic() + 30
    while meter._starting.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    meter.flush()
    {then}
"""


def run_metered(
    then: str, flush_s: float = 0.0, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run a metered process; return it with the data of its `energy` events."""
    process = subprocess.run(
        [sys.executable, "-c", METERED.replace("{then}", then).replace("{flush_s}", str(flush_s))],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    events = [json.loads(line) for line in process.stdout.splitlines()]
    assert {kind for kind, _ in events} <= {EnergyCounted.kind}
    return process, [data for _, data in events]


def test_real_seconds_are_counted_silently_even_in_a_job_without_scontrol() -> None:
    process, flushes = run_metered("time.sleep(0.5)", SLURM_JOB_ID="4242", PATH="/usr/bin:/bin")
    assert (process.returncode, process.stderr) == (0, "")
    assert len(flushes) == 2
    first, last = flushes
    assert 0 < first["energy_kwh"] < last["energy_kwh"] < 0.01
    assert last["energy_kwh"] == pytest.approx(last["cpu_kwh"] + last["gpu_kwh"] + last["ram_kwh"])
    assert 2.0 <= last["duration_s"] < 60
    assert last["tool"] == "codecarbon"
    assert last["version"] == "3.3.2"
    assert last["cpu_model"] == cpuinfo.get_cpu_info()["brand_raw"]
    assert last["reason"] is None
    assert "RAM by codecarbon's model" in last["detail"]
    figure = tracked(Site("here"), [EnergyCounted(**last)], allocated_s=last["duration_s"] + 1.0)
    assert figure.method is Method.CODECARBON
    assert figure.extended_s == pytest.approx(1.0)


def test_frequent_flushes_are_thinned_but_the_end_is_reported() -> None:
    _, flushes = run_metered("for _ in range(50): meter.flush()", flush_s=60.0)
    assert len(flushes) == 2
    assert flushes[0]["duration_s"] < flushes[1]["duration_s"]


def test_a_kill_costs_only_the_energy_since_the_last_flush() -> None:
    process, flushes = run_metered("import os; os.kill(os.getpid(), 9)")
    assert process.returncode == -9
    assert len(flushes) == 1
    assert flushes[0]["energy_kwh"] > 0


def test_a_job_with_a_share_of_the_cores_counts_only_itself() -> None:
    _, flushes = run_metered("pass", OMP_NUM_THREADS="1", SUBMITIT_LOCAL_NTASKS="1")
    shared = (os.cpu_count() or 1) > 1
    assert flushes[-1]["scope"] == ("this process and its children" if shared else "this machine")


def test_slices_of_a_gpu_have_no_figure_and_a_reason() -> None:
    process, flushes = run_metered("pass", CUDA_VISIBLE_DEVICES="MIG-1234")
    assert process.returncode == 0
    assert flushes[-1]["energy_kwh"] is None
    assert "MIG" in flushes[-1]["reason"]


def test_a_failing_codecarbon_is_a_reason_and_no_error() -> None:
    broken = "import builtins; sys.modules['codecarbon'] = None"
    script = (
        METERED.replace("{then}", "pass")
        .replace("{flush_s}", "0")
        .replace("import json, sys, time", f"import json, sys, time\n{broken}")
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    (event,) = [json.loads(line) for line in process.stdout.splitlines()]
    assert event[1]["energy_kwh"] is None
    assert event[1]["reason"] == "codecarbon is not installed"


@pytest.mark.parametrize(
    ("held", "cores", "mode"),
    [(96, 96, "machine"), (192, 96, "machine"), (24, 96, "process"), (4, None, "machine")],
)
def test_a_share_of_a_node_counts_only_its_own_processes(held: int, cores: int | None, mode: str) -> None:
    assert tracking_mode(held, cores) == mode


def test_the_label_distinguishes_counter_and_model() -> None:
    assert describe("intel_rapl", [0, 1], "machine").startswith("CPU by RAPL counter, ")
    assert describe("intel_rapl", [], "process").startswith("CPU by RAPL counter (whole packages), ")
    assert "load model" in describe("cpu_load", [], "machine")
    assert describe(None, None, "machine") == "CPU not counted, RAM by codecarbon's model, GPU slices not counted"
