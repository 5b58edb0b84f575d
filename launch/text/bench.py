"""How fast a recipe trains here, one line per loop, as the figures come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from detour.launch.text.screen import NARROWEST
from detour.speed.result import Device, Speed
from detour.text import plain, wrapped

PARTS_INDENT = "    "


def device_line(device: Device) -> str:
    return f"{plain(device.name)}, torch {plain(device.torch)}, transformers {plain(device.transformers)}"


def speed_lines(speed: Speed, so_far: Sequence[Speed]) -> Iterator[str]:
    """The line of a loop, with a heading before the first of a phase, and the parts of its step."""
    of_phase = [one for one in so_far if one.phase == speed.phase]
    if len(of_phase) == 1:
        yield f"\n{plain(speed.phase):<18}{'tokens/s':>11}{'detour is':>11}{'MFU':>8}{'memory':>11}{'energy':>12}"
    if speed.problem is not None:
        yield from wrapped(f"{speed.loop}: not measured: {plain(speed.problem)}")
        return
    share = _or_unknown(speed.mfu, lambda mfu: f"{mfu:.1%}")
    memory = _or_unknown(speed.memory_gib, lambda gib: f"{gib:.1f} GiB")
    energy = _or_unknown(speed.joules_per_token, lambda joules: f"{joules * 1e3:.2f} mJ/tok")
    yield f"  {speed.loop:<18}{_or_unknown(speed.tokens_per_s, lambda tps: f'{tps:,.0f}'):>9}" + (
        f"{_ratio(of_phase[0], speed):>11}{share:>8}{memory:>11}{energy:>12}"
    )
    if speed.attention is not None:
        measured = ", ".join(f"{name} {ms:.2f}" for name, ms in speed.attention_ms.items())
        suffix = f" (ms a layer: {plain(measured)})" if measured else ""
        yield from wrapped(f"attention: {plain(speed.attention)}{suffix}", PARTS_INDENT, NARROWEST)
    if speed.step_ms:
        parts = ", ".join(f"{part} {ms:,.1f} ms" for part, ms in speed.step_ms.items())
        yield from wrapped(f"a step: {parts}", PARTS_INDENT, NARROWEST)


def bench_json(device: Device | None, speeds: Sequence[Speed]) -> dict[str, Any]:
    return {"device": device and device.to_json(), "loops": [speed.to_json() for speed in speeds]}


def _ratio(ours: Speed, other: Speed) -> str:
    if ours.loop != "detour" or ours is other or not ours.tokens_per_s or not other.tokens_per_s:
        return "-"
    return f"x{ours.tokens_per_s / other.tokens_per_s:.2f}"


def _or_unknown(value: float | None, spell: Any) -> str:
    return "unknown" if value is None else str(spell(value))
