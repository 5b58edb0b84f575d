"""Compare the energy of a quickstart chain on this machine's GPUs: detour's NVML readings and nvidia-smi's power.

    python -m tests.gpu.energy_chain OUT [--seconds N] [--rehearse] [KEY=VALUE]...

Runs `detour run quickstart` in OUT/workspace, with a model large enough to load a GPU, while `nvidia-smi` samples the
power of every GPU five times per second. The energy counters' difference between the first and the last reading of an
attempt is compared with the integral of that power over exactly the same time; then follow the trainings' figures from
`detour report`. After `--seconds` the chain is stopped as by Ctrl-C, and what has run is compared. Overrides come after
those of this file.

Without an NVIDIA GPU it prints "not measured" and exits with 0. `--rehearse` runs a small chain on the CPU with a fake
GPU and nvidia-smi (`fake_gpu`) whose difference is known, and fails if the comparison gives another one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, pairwise
from math import fsum, inf
from pathlib import Path
from typing import Any

from detour.accounting.methods import GPU_COUNTER_ERROR
from detour.accounting.traces import Piece, pieces_of, spans_of, traces_of
from detour.ledger.events import EnergyRead
from detour.ledger.reading import LedgerReader
from detour.ledger.record import Entry
from detour.ledger.workspace import Workspace
from detour.orchestration.local_gpus import usable_gpus
from tests.gpu.fake_gpu.pynvml import SMI_FACTOR
from tests.gpu.power import FIELDS, Interval, Sample, Samples, energy_j, merged, sampling

FAKES = Path(__file__).parent / "fake_gpu"
LOCAL = Path(__file__).resolve().parents[2] / "configs" / "clusters" / "local.yaml"
J_PER_WH = 3600.0
DETOUR = (sys.executable, "-c", "from detour.launch.cli import main; main()")
BOARDS = ("nvidia-smi", "--query-gpu=uuid,name,driver_version,power.limit", "--format=csv,noheader,nounits")
READING_S = "2"
"""Interval between readings; the chain is short."""
SAVING_S = 20.0
"""Time that a stopped chain may take to save."""
LARGE = (
    "model.config.hidden_size=768",
    "model.config.intermediate_size=1152",
    "model.config.num_hidden_layers=22",
    "model.config.num_attention_heads=12",
    "batch.sequences=64",
    "batch.microbatch_sequences=64",
    "optimizer.lr=2e-4",
    "phases.0.tokens=2M",
    "phases.0.schedule.warmup=300k",
    "phases.0.gate=null",
    "phases.1.tokens=1M",
    "training.attention=varlen",
    "training.checkpoint_every=20",
)
SMALL = ("phases.0.tokens=60k", "phases.0.schedule.warmup=6k", "phases.0.gate=null", "phases.1.tokens=20k")
CLOSE = 0.005
"""Tolerance of the difference in a rehearsal."""
PROFILE = """\
extends: {local}
name: gpu-check
description: this machine
cores_per_node: {cores}
gpu:
  type: {kind}
  per_node: {gpus}
  board_power_w: {{value: {limit_w:g}, source: "nvidia-smi's power limit"}}
"""


@dataclass(frozen=True)
class Board:
    uuid: str
    name: str
    driver: str
    limit_w: float


@dataclass
class Row:
    """The energy of one or more stages, by counters, in the time between their readings."""

    name: str
    counted_j: float = 0.0
    readings: int = 0
    measured: dict[str, list[Interval]] = field(default_factory=dict)
    """Unmerged, by UUID."""

    def add(self, uuid: str, pieces: Iterable[Piece]) -> None:
        seen = [piece for piece in pieces if piece.seen_s > 0]
        self.counted_j += fsum(piece.energy_j for piece in seen)
        self.measured.setdefault(uuid, []).extend((piece.start_s, piece.end_s) for piece in seen)

    @property
    def measured_s(self) -> float:
        return fsum(end_s - start_s for spans in self.measured.values() for start_s, end_s in merged(spans))

    def smi_j(self, samples: Mapping[str, list[Sample]]) -> float | None:
        """Energy of the same GPUs over the same time, by nvidia-smi."""
        parts = [energy_j(samples.get(uuid, []), merged(spans)) for uuid, spans in self.measured.items() if spans]
        known = [part for part in parts if part is not None]
        return fsum(known) if parts and len(known) == len(parts) else None


def boards() -> list[Board]:
    if shutil.which("nvidia-smi") is None:
        return []
    answer = subprocess.run(BOARDS, capture_output=True, text=True, check=False)
    rows = [line.split(", ") for line in answer.stdout.splitlines() if line.startswith("GPU-")]
    return [Board(uuid, name, driver, float(limit_w)) for uuid, name, driver, limit_w in rows]


def rows_of(readings: Sequence[Entry[EnergyRead]], stages: Mapping[str, str]) -> list[Row]:
    """A row for each name in `stages` (id -> name), in the order of their first readings, and a row for the sum.

    If several attempts read a GPU at the same time, each interval is divided among them and counts once in the sum.
    """
    traces = traces_of(readings)
    spans = spans_of(traces)
    stage_of = {entry.writer: entry.stage or "" for entry in readings}
    rows: dict[str, Row] = {}
    whole = Row("whole chain")
    for trace in sorted(traces, key=lambda trace: trace.start_s):
        name = stages.get(stage_of[trace.writer], "other stages")
        row = rows.setdefault(name, Row(name))
        pieces = pieces_of(trace, spans, frozenset((trace.writer,)))
        for one in (row, whole):
            one.add(trace.uuid, pieces)
            one.readings += len(trace.points) - 1
    return [*rows.values(), whole]


def run_chain(workspace: Path, profile: Path, gpus: int, overrides: Sequence[str], limit_s: float) -> bool:
    """Run the chain; whether it succeeded or was stopped by the time limit."""
    command = [*DETOUR, "run", "quickstart", "-w", str(workspace), "--cluster", str(profile), "--gpus", str(gpus)]
    process = subprocess.Popen([*command, "--quiet", *overrides], env=os.environ | {"DETOUR_ENERGY_SECONDS": READING_S})
    try:
        return process.wait(limit_s) == 0
    except subprocess.TimeoutExpired:
        print(f"stopped after {limit_s:g} s", flush=True)
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SAVING_S)
        return True


def energy_readings(workspace: Workspace) -> list[Entry[EnergyRead]]:
    """All readings; the folded state only keeps the last one of each hour."""
    entries: Iterator[Entry[Any]] = chain.from_iterable(LedgerReader(workspace).read_new())
    return [entry for entry in entries if isinstance(entry.event, EnergyRead)]


def report_of(workspace: Path, profile: Path) -> dict[str, Any]:
    """The output of `detour report --json`."""
    command = [*DETOUR, "report", "-w", str(workspace), "--cluster", str(profile), "--json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    content: dict[str, Any] = json.loads(answer.stdout)
    return content


def trainings_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Pretraining stages by id, in the order of their starts; those that did not start come last."""
    trainings = [stage for stage in report["stages"].values() if stage["kind"] == "pretrain"]
    trainings.sort(key=lambda stage: min((attempt["started_s"] for attempt in stage["attempts"]), default=inf))
    return {stage["id"]: stage for stage in trainings}


def show(rows: Sequence[Row], samples: Samples) -> None:
    print(f"{'':15}{'measured':>9}{'readings':>9}{'counters':>19}", *(f"{name:>25}" for name in FIELDS))
    for row in rows:
        seconds = row.measured_s
        print(
            f"{row.name:15}{seconds:>7.1f} s{row.readings:>9}{_energy(row.counted_j, seconds):>19}",
            *(f"{_by_smi(row, samples, name):>25}" for name in FIELDS),
        )


def _energy(joules: float, seconds: float) -> str:
    return f"{joules / J_PER_WH:.4f} Wh {joules / seconds:3.0f} W" if seconds else "none"


def _by_smi(row: Row, samples: Samples, name: str) -> str:
    smi_j = row.smi_j(samples.by_field[name])
    return "not known" if not smi_j else f"{smi_j / J_PER_WH:.4f} Wh {row.counted_j / smi_j - 1:+.2%}"


def show_samples(samples: Samples, known: Sequence[Board]) -> None:
    for board in known:
        taken = samples.by_field[FIELDS[0]].get(board.uuid) or samples.by_field[FIELDS[1]].get(board.uuid, [])
        gap_s = max((later - earlier for (earlier, _), (later, _) in pairwise(taken)), default=0.0)
        print(
            f"{board.name}, {board.uuid}, driver {board.driver}, limit {board.limit_w:g} W: {len(taken)} samples of "
            f"nvidia-smi, the longest gap {gap_s:.2f} s"
        )


def show_report(trainings: Mapping[str, Any]) -> None:
    """Print the report's energy, which also covers CPU, RAM and time without readings."""
    for stage in trainings.values():
        for figure in stage["cost"]["energy"]:
            if (band := figure["it_energy_kwh"]) is not None:
                low_wh, wh, high_wh = (1000 * band[bound] for bound in ("low", "expected", "high"))
                print(
                    f"detour report, {stage['label']}: {figure['method']} {wh:.3f} Wh ({low_wh:.3f} to {high_wh:.3f}), "
                    f"{figure['coverage']:.0%} of the time covered; {figure['scope']}: {figure['detail']}"
                )


def show_verdict(row: Row, samples: Samples) -> None:
    smi_j = row.smi_j(samples.by_field[FIELDS[0]]) or row.smi_j(samples.by_field[FIELDS[1]])
    if smi_j is None or not row.counted_j:
        print("not measured: nothing has both readings and nvidia-smi's power")
        return
    smi_wh, counted_wh = smi_j / J_PER_WH, row.counted_j / J_PER_WH
    low_wh, high_wh = (counted_wh * (1 + sign * GPU_COUNTER_ERROR) for sign in (-1, 1))
    where = "inside" if low_wh <= smi_wh <= high_wh else "OUTSIDE"
    print(
        f"{row.name}: counters {counted_wh:.4f} Wh, nvidia-smi {smi_wh:.4f} Wh, difference "
        f"{counted_wh / smi_wh - 1:+.2%}: {where} the counters' band of {GPU_COUNTER_ERROR:.0%} "
        f"({low_wh:.4f} to {high_wh:.4f} Wh)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seconds", type=float, default=200, help="for the chain [200]")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_intermixed_args()
    if options.rehearse:
        os.environ["PATH"] = os.pathsep.join((str(FAKES), os.environ["PATH"]))
        os.environ["PYTHONPATH"] = os.pathsep.join((str(FAKES), os.environ.get("PYTHONPATH", "")))
    known = boards()
    if not known:
        print("not measured: no NVIDIA GPU on this machine")
        return
    sys.exit(_compare(options.out, known, options.rehearse, options.overrides, options.seconds))


def _compare(out: Path, known: Sequence[Board], rehearse: bool, overrides: Sequence[str], limit_s: float) -> int:
    out.mkdir(parents=True, exist_ok=True)
    workspace, profile = Workspace(out / "workspace"), out / "profile.yaml"
    limit_w = known[0].limit_w
    kind = known[0].name.removeprefix("NVIDIA ").split()[0].lower()
    cores = len(os.sched_getaffinity(0))
    profile.write_text(PROFILE.format(local=LOCAL, cores=cores, kind=kind, gpus=len(known), limit_w=limit_w))
    print(f"GPUs by nvidia-smi: {len(known)}, by detour: {len(usable_gpus(None))}", flush=True)
    with sampling() as samples:
        sizes = SMALL if rehearse else LARGE
        went_well = run_chain(workspace.root, profile, len(known), (*sizes, *overrides), limit_s)
        time.sleep(1)
    (out / "nvidia-smi.csv").write_text("\n".join(samples.lines) + "\n")
    trainings = trainings_of(report_of(workspace.root, profile))
    rows = rows_of(energy_readings(workspace), {stage_id: stage["label"] for stage_id, stage in trainings.items()})
    show_samples(samples, known)
    show(rows, samples)
    show_report(trainings)
    show_verdict(rows[-1], samples)
    is_right = _is_as_known(rows[-1], samples) if rehearse else rows[-1].counted_j > 0
    return 0 if went_well and len(trainings) == 2 and is_right else 1


def _is_as_known(row: Row, samples: Samples) -> bool:
    smi_j = row.smi_j(samples.by_field[FIELDS[0]])
    return smi_j is not None and abs(smi_j / row.counted_j - SMI_FACTOR) < CLOSE


if __name__ == "__main__":
    main()
