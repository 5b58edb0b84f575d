import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detour.ledger.events import EnergyRead
from detour.ledger.record import Entry
from tests.accounting.fake_nvml import FakeNvml, four_boards
from tests.accounting.samples import BEGAN_S, sampled
from tests.gpu.energy_chain import FAKES, rows_of, trainings_of
from tests.gpu.fake_gpu import pynvml as fake_pynvml
from tests.gpu.power import Sample, Samples, energy_j, merged


def curve(watts: Callable[[float], float], seconds: float, every_s: float = 0.2) -> list[Sample]:
    return [(BEGAN_S + step * every_s, watts(step * every_s)) for step in range(round(seconds / every_s) + 1)]


def entry(reading: Entry[EnergyRead], stage: str) -> Entry[EnergyRead]:
    return reading._replace(stage=stage)


def test_the_energy_of_falling_power_is_the_area_of_its_triangle() -> None:
    samples = curve(lambda at_s: 700 - 70 * at_s, 10)
    assert energy_j(samples, [(BEGAN_S, BEGAN_S + 10)]) == pytest.approx(3500)
    assert energy_j(samples, [(BEGAN_S + 2.5, BEGAN_S + 4)]) == pytest.approx((525 + 420) / 2 * 1.5)


def test_time_between_the_intervals_is_left_out() -> None:
    samples = curve(lambda at_s: 100.0 if at_s < 5 else 900.0, 10)
    assert energy_j(samples, [(BEGAN_S + 1, BEGAN_S + 2), (BEGAN_S + 7, BEGAN_S + 8)]) == pytest.approx(1000)


@pytest.mark.parametrize("missing", [(2.0, 6.0), (-1.0, 0.5), (9.0, 11.0)])
def test_missing_samples_give_no_figure(missing: tuple[float, float]) -> None:
    samples = [one for one in curve(lambda _: 300.0, 10) if not missing[0] < one[0] - BEGAN_S < missing[1]]
    assert energy_j(samples, [(BEGAN_S, BEGAN_S + 10)]) is None


def test_overlapping_intervals_count_once() -> None:
    assert merged([(5, 8), (0, 2), (1, 3), (7, 9)]) == [(0, 3), (5, 9)]


def test_lines_of_nvidia_smi_become_samples_unless_they_hold_no_figure() -> None:
    samples = Samples()
    samples.add("2026/11/26 13:00:00.250, GPU-a, 612.50, [N/A]")
    samples.add("2026/11/26 13:00:00.450, GPU-a, 61")
    samples.add("NVIDIA-SMI has failed because it could not communicate")
    instant, mean = samples.by_field["power.draw.instant"], samples.by_field["power.draw"]
    assert [watts for _, watts in instant["GPU-a"]] == [612.5]
    assert mean == {}


def test_a_known_factor_between_counters_and_nvidia_smi_is_found() -> None:
    nvml = FakeNvml(four_boards().boards[:1])
    readings = [entry(one, "pretrain-a") for one in sampled(nvml, seconds=60, every_s=5)]
    training, whole = rows_of(readings, {"pretrain-a": "pretrain clm"})
    samples = {"GPU-0": curve(lambda _: 500 * 1.04, 60)}
    assert training.name == "pretrain clm"
    assert training.measured_s == pytest.approx(60)
    smi_j = training.smi_j(samples)
    assert smi_j is not None
    assert training.counted_j / smi_j - 1 == pytest.approx(1 / 1.04 - 1)
    assert whole.smi_j(samples) == smi_j


def test_the_sum_of_two_attempts_on_one_board_counts_each_interval_once() -> None:
    def readings(name: str) -> list[Entry[EnergyRead]]:
        nvml = FakeNvml(four_boards().boards[:1])
        return [entry(one, name) for one in sampled(nvml, seconds=40, every_s=5, writer=name)]

    *_, whole = rows_of([*readings("a"), *readings("b")], {})
    assert whole.counted_j == pytest.approx(500 * 40)
    assert whole.measured_s == pytest.approx(40)
    assert whole.smi_j({"GPU-0": curve(lambda _: 500.0, 40)}) == pytest.approx(500 * 40)


def test_a_training_that_did_not_start_comes_last() -> None:
    def stage(stage_id: str, *starts_s: float, kind: str = "pretrain") -> dict[str, Any]:
        return {"id": stage_id, "kind": kind, "attempts": [{"started_s": start_s} for start_s in starts_s]}

    stages = [stage("mlm"), stage("clm", 9.0, 5.0), stage("first", 4.0), stage("corpus", 1.0, kind="prepare")]
    assert list(trainings_of({"stages": {one["id"]: one for one in stages}})) == ["first", "clm", "mlm"]


def test_the_simulated_board_counts_the_area_of_its_curve() -> None:
    step_s, steps = 0.01, 300
    area_j = math.fsum(fake_pynvml.power_w(BEGAN_S + (step + 0.5) * step_s) * step_s for step in range(steps))
    counted_j = fake_pynvml.energy_j(BEGAN_S + steps * step_s) - fake_pynvml.energy_j(BEGAN_S)
    assert counted_j == pytest.approx(area_j, rel=1e-4)


def test_the_simulated_nvidia_smi_answers_queries() -> None:
    answer = subprocess.run(
        [sys.executable, FAKES / "nvidia-smi", "--query-gpu=uuid,power.limit", "--format=csv"],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "GPU-made-up, 700.00\n"
