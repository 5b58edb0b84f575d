"""The sampler: a thread next to real work, which no error of its own disturbs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from detour.accounting.nvml import GpuReading, NvmlCounters
from detour.accounting.rapl import HostCounters, share_of_cores
from detour.accounting.sampler import EnergySampler, interval_of
from detour.ledger.events import CheckpointSaved, EnergyRead
from tests.accounting.fake_nvml import Board, FakeNvml, four_boards


class Watch:
    """Records of a sampler; `wait_for` returns once one was made for the given reason."""

    def __init__(self) -> None:
        self.events: list[EnergyRead] = []
        self._changed = threading.Condition()

    def __call__(self, event: EnergyRead) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, why: str) -> EnergyRead:
        with self._changed:
            assert self._changed.wait_for(lambda: any(event.why == why for event in self.events), timeout=10)
            return next(event for event in self.events if event.why == why)


def no_host() -> HostCounters:
    return HostCounters(Path("/nowhere"))


def test_counters_are_read_at_the_start_at_intervals_on_signals_and_at_the_end() -> None:
    watch, nvml = Watch(), four_boards()
    with EnergySampler(watch, counters=lambda: NvmlCounters(None, nvml), host=no_host, interval_s=0.05) as sampler:
        assert watch.wait_for("start").gpus["GPU-0"]["energy_j"] == 0.0
        nvml.advance(1.0)
        watch.wait_for("interval")
        sampler.ask("signal")
        watch.wait_for("signal")
    last = watch.events[-1]
    assert last.why == "end"
    assert {uuid: gpu["energy_j"] for uuid, gpu in last.gpus.items()} == pytest.approx(
        {"GPU-0": 500, "GPU-1": 550, "GPU-2": 600, "GPU-3": 650}, abs=0.01
    )
    assert last.gpus["GPU-0"]["counter_j"] == pytest.approx(123_956)
    assert last.version == "580.95"


def test_checkpoints_are_read_and_those_within_a_second_share_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detour.accounting.sampler.LEAST_GAP_S", 0.2)
    watch = Watch()
    with EnergySampler(watch, counters=lambda: NvmlCounters(None, four_boards()), host=no_host) as sampler:
        watch.wait_for("start")
        time.sleep(0.25)
        for _ in range(50):
            sampler.heard(CheckpointSaved(step=1, tokens=1))
        watch.wait_for("checkpoint")
    assert [event.why for event in watch.events] == ["start", "checkpoint", "end"]


class Broken:
    version: str | None = None

    def read(self) -> list[GpuReading]:
        raise RuntimeError("the driver is gone")


class Hanging:
    version: str | None = None

    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> list[GpuReading]:
        self.reads += 1
        if self.reads > 1:
            threading.Event().wait(60)
        return [GpuReading("GPU-0", 100.0, 600.0)]


def test_a_failing_counter_is_a_reason_and_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    watch = Watch()
    with EnergySampler(watch, counters=Broken, host=no_host, interval_s=0.05):
        watch.wait_for("interval")
    assert watch.events[-1].why == "end"
    assert "the driver is gone" in (watch.events[-1].reason or "")
    with EnergySampler(watch, counters=lambda: 1 / 0, host=no_host):  # type: ignore[arg-type, return-value]
        pass
    assert "division by zero" in (watch.events[-1].reason or "")
    with EnergySampler(watch, counters=lambda: importlib.import_module("no_nvml"), host=no_host):
        pass
    assert watch.events[-1].reason == "no_nvml is not installed"
    assert capfd.readouterr() == ("", "")


def test_a_failing_journal_is_ignored(capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(event: EnergyRead) -> None:
        raise OSError(event.why)

    with EnergySampler(refuse, counters=lambda: NvmlCounters(None, four_boards()), host=no_host):
        time.sleep(0.05)
    assert capfd.readouterr() == ("", "")


def test_a_reading_that_hangs_is_abandoned_and_reported() -> None:
    watch, began_s = Watch(), time.monotonic()
    with EnergySampler(watch, counters=Hanging, host=no_host, interval_s=0.05, patience_s=0.2):
        watch.wait_for("start")
    assert time.monotonic() - began_s < 5
    assert watch.events[-1].reason == "no answer within 0.2 s of the end"
    assert watch.events[-1].gpus == watch.events[0].gpus


def test_a_machine_without_room_for_a_thread_continues_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    watch = Watch()
    with EnergySampler(watch, counters=Broken, host=no_host) as sampler:
        sampler.ask("checkpoint")
    assert [event.reason for event in watch.events] == ["no thread could be started"]


def test_a_kill_leaves_the_last_reading_in_the_journal(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from detour.accounting.nvml import NvmlCounters
from detour.accounting.sampler import EnergySampler
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from tests.accounting.fake_nvml import four_boards
workspace = Workspace(Path({str(tmp_path)!r}))
workspace.create()
journal, nvml = Journal.open(workspace, "w"), four_boards()
with EnergySampler(journal.append, counters=lambda: NvmlCounters(None, nvml), interval_s=0.05):
    for _ in range(6):
        time.sleep(0.05)
        nvml.advance(1.0)
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    (journal,) = tmp_path.glob("ledger/*/*.jsonl")
    records = [json.loads(line[9:]) for line in journal.read_text().splitlines()]
    last = [record["data"] for record in records if record["kind"] == EnergyRead.kind][-1]
    assert last["why"] == "interval"
    assert last["gpus"]["GPU-0"]["energy_j"] >= 500.0


def test_a_machine_without_a_driver_has_no_gpu() -> None:
    assert NvmlCounters(None, FakeNvml([], driver=False)).read() == []


def test_only_the_gpus_of_the_job_are_read() -> None:
    assert [reading.uuid for reading in NvmlCounters("1,GPU-3", four_boards()).read()] == ["GPU-1", "GPU-3"]


def test_a_board_lost_before_the_start_keeps_its_place_and_hides_no_other() -> None:
    nvml = four_boards()
    nvml.boards[1].lost = True
    gone, found = NvmlCounters("1,2", nvml).read()
    assert (gone.uuid, gone.counter_j, gone.reason) == ("index 1", None, "does not answer")
    assert (found.uuid, found.counter_j) == ("GPU-2", 123_456.0)


def test_a_slice_of_unknown_size_says_so() -> None:
    (reading,) = NvmlCounters("MIG-7", FakeNvml([Board("GPU-0", mig=True)])).read()
    assert reading.counter_j is None
    assert reading.reason == "is a slice (MIG) of unknown size (Not Found)"


def zone(root: Path, name: str, label: str, counter_uj: int, range_uj: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir()
    for file, content in (("name", label), ("energy_uj", counter_uj), ("max_energy_range_uj", range_uj)):
        (folder / file).write_text(f"{content}\n")
    return folder / "energy_uj"


def test_packages_and_memory_are_summed_separately_across_a_wrap(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 0)
    zone(tmp_path, "intel-rapl:0:0", "core", 5)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5)
    host = HostCounters(tmp_path)
    package.write_text("100000")
    memory.write_text("250000")
    assert list(host.read()) == pytest.approx([0.2, 0.25])
    package.unlink()
    assert list(host.read()) == pytest.approx([0.2, 0.25])


def test_without_readable_counters_the_cpu_is_unknown(tmp_path: Path) -> None:
    assert HostCounters(tmp_path).read() == (None, None)


def test_the_share_of_a_node_counts_cores_not_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}")
    assert share_of_cores({0, 1}, tmp_path) == 0.5
    assert share_of_cores({0, 1, 4, 5}, tmp_path) == 0.5
    assert share_of_cores({0, 1, 2, 3}, tmp_path) == 1.0
    assert share_of_cores({0}, tmp_path / "nowhere") == 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 30.0), ("60", 60.0), ("0", 1.0), ("1e9", 600.0), ("often", 30.0), ("nan", 30.0)],
)
def test_the_interval_can_be_set_within_bounds(text: str | None, seconds: float) -> None:
    assert interval_of(text) == seconds
