"""M1 compared with the true energy of a fake machine, whatever happens to its counters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.accounting.energy import EnergyFigure, Method
from detour.accounting.measured import measured
from detour.accounting.traces import Piece, Spans, pieces_of, spans_of, traces_of
from detour.ledger.events import EnergyRead
from detour.ledger.record import Entry
from detour.site import Site
from tests.accounting.fake_nvml import Board, FakeNvml, Slice, four_boards
from tests.accounting.samples import BEGAN_S, SITE, by_hour, sampled, usage

Readings = list[Entry[EnergyRead]]


def true_kwh(nvml: FakeNvml) -> float:
    return sum(board.true_j for board in nvml.boards) / 3.6e6


def expected_kwh(figure: EnergyFigure) -> float:
    assert figure.it_energy_kwh is not None
    return figure.it_energy_kwh.expected


def assert_holds(figure: EnergyFigure, truth: float) -> None:
    assert figure.it_energy_kwh is not None
    assert figure.it_energy_kwh.low <= truth <= figure.it_energy_kwh.high


def test_two_hours_on_four_boards_are_counted_to_the_joule() -> None:
    nvml = four_boards()
    figure = measured(SITE, by_hour(sampled(nvml, seconds=7200.0)), usage(7200.0, 4))
    assert figure.method is Method.MEASURED
    assert expected_kwh(figure) == pytest.approx(true_kwh(nvml)) == pytest.approx(4.6)
    assert (figure.coverage, figure.extended_s) == (1.0, 0.0)
    assert figure.detail == "4 GPU by NVML counter"


def test_an_interval_lost_to_a_reset_counter_is_filled_in_and_reported() -> None:
    nvml = four_boards()

    def reload_driver(at_s: float) -> None:
        if at_s == 900.0:
            nvml.boards[2].counter_j = 600.0 * 10

    figure = measured(SITE, sampled(nvml, seconds=1800.0, happens=reload_driver), usage(1800.0, 4))
    assert expected_kwh(figure) == pytest.approx(true_kwh(nvml), rel=1e-3)
    assert_holds(figure, true_kwh(nvml))
    assert figure.coverage == pytest.approx(1 - 30 / 7200)
    assert "counters were reset 1 time" in figure.detail
    assert "30s of GPU time filled in at the last mean power" in figure.detail


def test_a_counter_faster_than_a_board_can_draw_is_not_believed() -> None:
    nvml = four_boards()

    def leap(at_s: float) -> None:
        if at_s == 300.0:
            nvml.boards[0].counter_j += 1e12

    figure = measured(SITE, sampled(nvml, seconds=3600.0, happens=leap), usage(3600.0, 4))
    assert expected_kwh(figure) == pytest.approx(true_kwh(nvml), rel=1e-2)
    assert_holds(figure, true_kwh(nvml))


def test_a_missing_device_is_filled_in_and_lowers_the_coverage() -> None:
    nvml = four_boards()
    truth = 4 * 575.0 / 1000
    del nvml.boards[3]
    figure = measured(SITE, sampled(nvml, seconds=3600.0), usage(3600.0, 4))
    assert figure.coverage == pytest.approx(0.75)
    assert_holds(figure, truth)


def test_a_device_lost_midway_costs_only_its_own_rest() -> None:
    nvml = four_boards()

    def lose(at_s: float) -> None:
        nvml.boards[1].lost = at_s >= 1800.0

    figure = measured(SITE, sampled(nvml, seconds=3600.0, happens=lose), usage(3600.0, 4))
    assert figure.coverage == pytest.approx(1 - 1830 / 14400)
    assert_holds(figure, true_kwh(nvml))


def test_a_device_that_comes_back_has_kept_counting() -> None:
    nvml = four_boards()

    def blink(at_s: float) -> None:
        nvml.boards[1].lost = 600.0 <= at_s < 1200.0

    figure = measured(SITE, sampled(nvml, seconds=3600.0, happens=blink), usage(3600.0, 4))
    assert expected_kwh(figure) == pytest.approx(true_kwh(nvml))
    assert figure.coverage == 1.0


def test_a_board_without_a_counter_is_sampled_and_labelled() -> None:
    nvml = FakeNvml([Board("GPU-0"), Board("GPU-1", has_counter=False)])
    figure = measured(SITE, sampled(nvml, seconds=600.0, every_s=5.0), usage(600.0, 2))
    assert expected_kwh(figure) == pytest.approx(true_kwh(nvml))
    assert figure.detail == "1 GPU by NVML counter, 1 GPU by sampled power"
    assert figure.it_energy_kwh is not None
    assert figure.it_energy_kwh.high == pytest.approx(0.1 * 1.05 + 0.1 * 1.15)


def test_a_slice_gets_its_share_and_its_range_extends_to_the_whole_board() -> None:
    board = Board("GPU-0", mig=True)
    nvml = FakeNvml([board], [Slice("MIG-1", board, 3)])
    figure = measured(SITE, sampled(nvml, seconds=3600.0, visible="MIG-1"), usage(3600.0, None))
    assert expected_kwh(figure) == pytest.approx(0.6 * 3 / 7)
    assert figure.it_energy_kwh is not None
    assert [figure.it_energy_kwh.low, figure.it_energy_kwh.high] == pytest.approx([0.0, 0.6 * 1.05])
    assert "43% of a board's counter (MIG)" in figure.detail
    known = measured(SITE, sampled(nvml, seconds=3600.0, visible="MIG-1"), usage(3600.0, 3 / 7))
    assert known.it_energy_kwh == figure.it_energy_kwh, "its share is taken once"
    assert known.covered_s == figure.covered_s


def test_a_split_board_without_a_named_slice_has_no_figure() -> None:
    nvml = FakeNvml([Board("GPU-0", mig=True)])
    figure = measured(SITE, sampled(nvml, seconds=60.0), usage(60.0, 1))
    assert figure.it_energy_kwh is None


def test_a_gpu_seen_by_two_processes_is_counted_once() -> None:
    nvml = FakeNvml([Board("GPU-0")])
    first = sampled(nvml, seconds=3600.0)
    second = [entry._replace(writer="v") for entry in first]
    figure = measured(SITE, first + second, usage(3600.0, 1))
    assert expected_kwh(figure) == pytest.approx(0.6)
    assert figure.coverage == 1.0


def test_two_attempts_on_one_gpu_share_its_energy() -> None:
    nvml = FakeNvml([Board("GPU-0")])
    readings = sampled(nvml, seconds=3600.0, every_s=60.0)
    whole, half = readings, [entry._replace(writer="v") for entry in readings if entry.event.elapsed_s <= 1800.0]
    spans = spans_of(traces_of(whole + half))
    longer = measured(SITE, whole, usage(3600.0, 1), spans)
    shorter = measured(SITE, half, usage(1800.0, 1), spans)
    assert expected_kwh(longer) == pytest.approx(0.45)
    assert expected_kwh(shorter) == pytest.approx(0.15)
    assert (longer.coverage, shorter.coverage) == (1.0, 1.0)


def test_a_job_that_sees_more_gpus_than_it_holds_gets_its_share() -> None:
    nvml = four_boards()
    readings = sampled(nvml, seconds=3600.0)
    one_of_four = measured(SITE, readings, usage(3600.0, 1))
    assert expected_kwh(one_of_four) == pytest.approx(true_kwh(nvml) / 4)
    assert one_of_four.coverage == 1.0
    assert one_of_four.detail == "4 GPU by NVML counter, of which the job held 1 and takes its share"
    assert measured(SITE, readings, usage(3600.0, 0)).it_energy_kwh is None


def test_a_vanished_node_is_extended_at_its_last_mean_power_and_marked() -> None:
    first, second = four_boards(), FakeNvml([Board(f"GPU-{index}", power_w=650.0) for index in range(4, 8)])
    kept = sampled(first, seconds=7200.0)
    lost = [
        entry for entry in sampled(second, seconds=7200.0, writer="v", node="n2") if entry.event.elapsed_s <= 3600.0
    ]
    figure = measured(SITE, by_hour(kept + lost), usage(7200.0, 8, nodes=2))
    assert figure.coverage == pytest.approx(0.75)
    assert figure.extended_s == pytest.approx(1800.0)
    assert_holds(figure, true_kwh(first) + true_kwh(second))
    assert "4h00m of GPU time filled in" in figure.detail


def test_a_killed_attempt_keeps_its_last_reading_and_its_tail_is_filled_in() -> None:
    nvml = four_boards()
    readings = sampled(nvml, seconds=3600.0)
    figure = measured(SITE, readings[:-2], usage(3600.0, 4))
    assert expected_kwh(figure) == pytest.approx(true_kwh(nvml))
    assert figure.extended_s == pytest.approx(60.0)


def test_without_a_gpu_or_cpu_counter_nothing_is_measured() -> None:
    figure = measured(SITE, sampled(FakeNvml([], driver=False), seconds=60.0), usage(60.0, 0))
    assert (figure.it_energy_kwh, figure.reason) == (None, "no energy counter was read")


def test_cpu_and_ram_are_modelled_if_no_counter_is_readable() -> None:
    site = SITE._replace(ram_w_per_gb=Site("x").ram_w_per_gb)
    held = usage(3600.0, 4)._replace(cpus=96, ram_gb=512.0)
    figure = measured(site, sampled(four_boards(), seconds=3600.0), held)
    assert expected_kwh(figure) == pytest.approx(2.3 + 96 * 7.3 / 1000)
    assert figure.scope == "GPU boards and CPU"
    assert figure.detail == "4 GPU by NVML counter, CPU by model"


def test_cpu_counters_of_all_nodes_are_added_and_extended() -> None:
    half: dict[str, Any] = {
        "why": "end",
        "began_s": BEGAN_S,
        "elapsed_s": 1800.0,
        "gpus": {},
        "cpu_j": 3.6e5,
        "host_s": 1800.0,
    }
    nodes = {"a": "n1", "b": "n2", "c": "n2"}
    entries = [Entry(0, writer, BEGAN_S, 0.0, EnergyRead(node=node, **half)) for writer, node in nodes.items()]
    figure = measured(SITE, entries, usage(3600.0, 0, nodes=2))
    assert expected_kwh(figure) == pytest.approx(0.4)
    assert figure.coverage == pytest.approx(0.5)


def test_each_of_several_concurrent_attempts_gets_its_part_of_the_cpu_energy() -> None:
    seen = EnergyRead(node="n1", why="end", began_s=BEGAN_S, elapsed_s=1800.0, gpus={}, cpu_j=3.6e6, host_s=1800.0)
    figure = measured(SITE, [Entry(0, "a", BEGAN_S, 0.0, seen)], usage(600.0, 0))
    assert expected_kwh(figure) == pytest.approx(1 / 3)


@given(st.integers(1, 118), st.sampled_from([1, 7, 30]))
@settings(max_examples=40, deadline=None)
def test_an_attempt_cut_in_two_has_the_energy_of_the_whole(cut: int, every_s: int) -> None:
    nvml, whole = FakeNvml([Board("GPU-0", power_w=100.0)]), 120

    def vary(at_s: float) -> None:
        nvml.boards[0].power_w = 100.0 + at_s / 10

    readings = sampled(nvml, seconds=float(whole * every_s), every_s=float(every_s), happens=vary)
    before_j = readings[cut].event.gpus["GPU-0"]["energy_j"]
    second = [shifted(entry, "v", cut * every_s, before_j) for entry in readings[cut:]]
    parts = [
        measured(SITE, readings[: cut + 1], usage(float(cut * every_s), 1)),
        measured(SITE, second, usage(float((whole - cut) * every_s), 1)._replace(start_s=BEGAN_S + cut * every_s)),
    ]
    assert sum(map(expected_kwh, parts)) == pytest.approx(true_kwh(nvml))


happenings = st.tuples(
    st.integers(1, 19), st.integers(0, 3), st.sampled_from(["reset", "lost", "back", "leap", "idles", "draws"])
)


@given(st.lists(st.floats(70.0, 690.0), min_size=4, max_size=4), st.lists(happenings, max_size=5), st.integers(2, 21))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_to_a_node_the_range_holds_the_true_energy(
    powers_w: list[float], events: list[tuple[int, int, str]], written: int
) -> None:
    """There are 20 intervals of 30 s; the node vanishes after `written` readings."""
    nvml = FakeNvml([Board(f"GPU-{index}", power_w=power) for index, power in enumerate(powers_w)])

    def happens(at_s: float) -> None:
        for board, what in ((nvml.boards[index], what) for tick, index, what in events if tick * 30.0 == at_s):
            board.lost = what == "lost" or (board.lost and what != "back")
            board.counter_j = {"reset": 50.0, "leap": board.counter_j + 1e12}.get(what, board.counter_j)
            board.power_w = {"idles": 70.0, "draws": 690.0}.get(what, board.power_w)

    readings = sampled(nvml, seconds=600.0, every_s=30.0, happens=happens)[:written]
    assert_holds(measured(SITE, readings, usage(600.0, 4)), true_kwh(nvml))


spans_s = st.tuples(st.integers(0, 100), st.integers(1, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(spans_s, min_size=1, max_size=5), st.randoms())
@settings(max_examples=60, deadline=None)
def test_each_interval_of_a_gpu_is_counted_once_for_any_number_of_observers(
    windows: list[tuple[int, int]], random: object
) -> None:
    nvml = FakeNvml([Board("GPU-0", power_w=100.0)])
    readings = sampled(nvml, seconds=200.0, every_s=1.0)
    watchers: dict[str, Readings] = {}
    for index, (start, end) in enumerate(windows):
        writer, first = f"w{index}", readings[start].event.gpus["GPU-0"]
        watchers[writer] = [shifted(entry, writer, start, first["energy_j"]) for entry in readings[start : end + 1]]
    spans = spans_of(traces_of([entry for entries in watchers.values() for entry in entries]))
    union = len({second for start, end in windows for second in range(start, end)})
    pieces = []
    for entries in watchers.values():
        random.shuffle(entries)  # type: ignore[attr-defined]
        pieces += own_pieces(entries, spans)
    assert sum(piece.energy_j for piece in pieces) == pytest.approx(100.0 * union)


@given(st.lists(st.tuples(spans_s, st.floats(0.0, 600.0)), min_size=1, max_size=4), st.floats(50.0, 90.0))
@settings(max_examples=60, deadline=None)
def test_attempts_that_share_a_gpu_for_a_while_add_up_to_its_energy(
    held: list[tuple[tuple[int, int], float]], idle_w: float
) -> None:
    """Each draws its own power in addition to the idle board's; the ledger keeps each one's last reading of an hour."""
    nvml, watchers = FakeNvml([Board("GPU-0", limit_w=5000.0)]), dict[str, Readings]()

    def vary(at_s: float) -> None:
        nvml.boards[0].power_w = idle_w + sum(power_w for (start, end), power_w in held if start <= at_s / 60 < end)

    readings = sampled(nvml, seconds=200 * 60.0, every_s=60.0, happens=vary)
    for index, ((start, end), _) in enumerate(held):
        writer, first = f"w{index}", readings[start].event.gpus["GPU-0"]
        own = [shifted(entry, writer, start * 60, first["energy_j"]) for entry in readings[start : end + 1]]
        watchers[writer] = by_hour(own)
    spans = spans_of(traces_of([entry for entries in watchers.values() for entry in entries]))
    seen = {minute for (start, end), _ in held for minute in range(start, end)}
    truth_j = sum(
        60 * (idle_w + sum(power_w for (start, end), power_w in held if start <= minute < end)) for minute in seen
    )
    pieces = [piece for entries in watchers.values() for piece in own_pieces(entries, spans)]
    assert sum(piece.energy_j for piece in pieces) == pytest.approx(truth_j)


def own_pieces(readings: Readings, spans: Spans) -> list[Piece]:
    """The share of one writer in the energy of its GPUs, between its readings."""
    traces = traces_of(readings)
    own = frozenset(trace.writer for trace in traces)
    return [piece for trace in traces for piece in pieces_of(trace, spans, own)]


def shifted(entry: Entry[EnergyRead], writer: str, start: int, before_j: float) -> Entry[EnergyRead]:
    """The same reading by a sampler that began at `start`."""
    gpu = dict(entry.event.gpus["GPU-0"]) | {"energy_j": entry.event.gpus["GPU-0"]["energy_j"] - before_j}
    gpu["seen_s"] = entry.event.elapsed_s - start
    data = entry.event.to_json() | {
        "began_s": BEGAN_S + start,
        "elapsed_s": entry.event.elapsed_s - start,
        "gpus": {"GPU-0": gpu},
    }
    return entry._replace(writer=writer, event=EnergyRead(**data))
