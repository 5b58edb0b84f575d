from __future__ import annotations

from dataclasses import replace

from detour.launch.text.bench import bench_json, device_line, speed_lines
from detour.speed.result import Device, Speed

OURS = Speed("clm", "detour", 430_000.0, 0.398, 61.27, 0.00162, {"save": 512.0})
BARE = replace(OURS, loop="bare loop", tokens_per_s=433_000.0, step_ms={"forward": 1000.0, "backward": 2000.5})
SDPA = Speed("clm", "transformers, sdpa", 107_500.0)


def test_a_phase_has_a_heading_and_each_loop_a_line() -> None:
    lines = [line for i, speed in enumerate((OURS, SDPA)) for line in speed_lines(speed, (OURS, SDPA)[: i + 1])]
    assert lines == [
        "\nclm                  tokens/s  detour is     MFU     memory      energy",
        "  detour              430,000          -   39.8%   61.3 GiB 1.62 mJ/tok",
        "    a step: save 512.0 ms",
        "  transformers, sdpa  107,500      x4.00 unknown    unknown     unknown",
    ]


def test_the_parts_of_a_step_are_reported() -> None:
    assert list(speed_lines(BARE, [OURS, BARE]))[-1] == "    a step: forward 1,000.0 ms, backward 2,000.5 ms"


def test_the_attention_is_shown_with_the_measurements_of_its_choice() -> None:
    chosen = replace(OURS, attention="varlen+local", attention_ms={"varlen": 1.221, "varlen+local": 0.9})
    lines = list(speed_lines(chosen, [chosen]))
    assert lines[-2] == "    attention: varlen+local (ms a layer: varlen 1.22, varlen+local 0.90)"
    assert list(speed_lines(replace(OURS, attention="sdpa"), [OURS]))[-2] == "    attention: sdpa"


def test_failed_measurements_are_reported_and_cleaned() -> None:
    broken = Speed("clm", "transformers", problem="no \x1b[31mkernel")
    (line,) = speed_lines(broken, [OURS, broken])
    assert line.startswith("  transformers: not measured: no ")
    assert "\x1b" not in line


def test_every_line_fits_80_columns() -> None:
    million = replace(
        OURS,
        loop="transformers, sdpa",
        tokens_per_s=9_999_999.0,
        memory_gib=139.9,
        attention="flash_attention_4+local",
        attention_ms={"varlen": 1.221, "varlen+local": 1.194, "flash_attention_4": 1.1, "flash_attention_4+local": 0.8},
        step_ms={"data": 0.1, "to device": 6.7, "forward": 786.2, "backward": 1046.6, "optimizer": 4.0},
    )
    assert max(len(line) for line in speed_lines(million, [OURS, million])) <= 80


def test_json_has_the_device_and_every_figure() -> None:
    device = Device("NVIDIA H100", "2.13.0", "5.23.0")
    assert device_line(device) == "NVIDIA H100, torch 2.13.0, transformers 5.23.0"
    assert bench_json(device, [OURS])["loops"][0]["mfu"] == 0.398
