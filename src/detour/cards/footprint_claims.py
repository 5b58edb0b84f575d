"""Check a card's claims about GPU-hours and CO2 against the calculation behind such figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from detour.cards.conventions import Convention, shipped_conventions
from detour.cards.findings import Finding, agrees
from detour.cards.footprint_tables import table_statements
from detour.cards.reading import FoundCard, figure
from detour.text import bare_number, exact

SEPARATOR = r"[ \u00a0\u2009\u202f'\u2019]"
GROUPED = rf"\d{{1,3}}(?:{SEPARATOR}\d{{3}}(?!\d))+"
NUMBER = rf"(?<![A-Za-z\d])(?<!\d[,.])(?<!\d{SEPARATOR})((?:{GROUPED}|\d[\d,]*)(?:\.\d+)?)"
"""Digits behind a letter belong to a name, such as H100; thousands are set apart by commas, spaces or apostrophes."""
BOARD = r"(?:NVIDIA\s+|AMD\s+)?[A-Z]{1,3}\d{2,4}[A-Z]?"
GPU_HOURS = re.compile(rf"{NUMBER}\s*(?:{BOARD}|(?:{BOARD}[- ])?GPU)[- ·.]?(?:h\b|hours?\b)", re.IGNORECASE)
CO2 = re.compile(
    rf"{NUMBER}\s*(mg|g|kg|t|tonnes?)\s*(?:of\s+)?CO\s?(?:2|₂|<sub>2</sub>)(?!\w*\s*(?:/|per\s)\s*kWh)", re.IGNORECASE
)
GPUS = re.compile(
    rf"\b(\d+)\s*(?:[×x]\s*|times\s+|\s)(?:{BOARD}\b|GPUs?\b)(?!(?: GPU)?[- ·.]?(?:h|hours?)\b)", re.IGNORECASE
)
NODES = re.compile(r"\b(\d{1,5})\s*(?:[×x]\s*)?nodes?\b", re.IGNORECASE)
HOURS = re.compile(rf"(?<![\w.,]){NUMBER}\s*(?:hours?|h)\b(?!\s*GPU)(\s*(?:of\s+)?wall)?", re.IGNORECASE)
TIMES = r"\s*[x×*]\s*"
ARITHMETIC = re.compile(
    rf"{NUMBER}\s*GPU[- ]?h\w*{TIMES}{NUMBER}\s*(kW|W){TIMES}(?:PUE\s*)?{NUMBER}(?:\s*\(?PUE\)?)?{TIMES}"
    rf"{NUMBER}\s*g[^=≈]{{0,16}}[=≈]\s*{NUMBER}\s*(mg|g|kg|t)\b"
)
STATED = {
    "power_kw": re.compile(rf"{NUMBER}\s*(kW|W)\b(?!h)"),
    "pue": re.compile(r"\bPUE\s*(?:of|=|:|is|\|)?\s*(\d(?:\.\d+)?)", re.IGNORECASE),
    "g_per_kwh": re.compile(rf"{NUMBER}\s*g(?:\s*CO\s?[2₂]\s?(?:eq|e)?)?\s*(?:/|per\s+)\s*kWh", re.IGNORECASE),
}
GRAMS = {"mg": 1e-3, "g": 1.0, "kg": 1e3, "t": 1e6, "tonne": 1e6, "tonnes": 1e6}


class Stated(NamedTuple):
    """A CO2 figure in the text."""

    grams: float
    words: str
    is_of_hours: bool
    """Whether the same sentence states GPU-hours, so the figure is about a training."""


def footprint_findings(card: FoundCard, given: Convention | None) -> Iterator[Finding]:
    """Yield findings by the constants `given`, otherwise those stated by the card, otherwise those of the profiles."""
    text = "\n".join(card.lines)
    chosen = given or _stated(text)
    said: list[Stated] = []
    for line, sentence in (*card.paragraphs, *table_statements(card)):
        gpu_hours, co2 = GPU_HOURS.findall(sentence), CO2.findall(sentence)
        yield from _wall_time(line, sentence, gpu_hours)
        for claim in ARITHMETIC.finditer(sentence):
            yield _worked_out(line, claim)
            said.append(Stated(_grams(claim[6], claim[7]), f"{claim[6]} {claim[7]}", is_of_hours=True))
        said += [Stated(_grams(value, unit), f"{value} {unit}", bool(gpu_hours)) for value, unit in co2]
        for hours, (value, unit) in zip(gpu_hours, co2, strict=False):
            yield _multiplied(line, hours, value, unit, [chosen] if chosen else shipped_conventions())
    yield from _metadata(card.metadata, said)


def _stated(text: str) -> Convention | None:
    """Return the constants of the card, if it states all three."""
    power, pue, factor = (pattern.search(text) for pattern in STATED.values())
    if not (power and pue and factor):
        return None
    kw = _number(power[1]) * (1 if power[2] == "kW" else 1e-3)
    return Convention(kw, _number(pue[1]), _number(factor[1]), "the card's own constants")


def _worked_out(line: int, claim: re.Match[str]) -> Finding:
    """Check a calculation that the card spells out."""
    hours, power, unit, pue, factor, value, mass = claim.groups()
    convention = Convention(
        _number(power) * (1 if unit == "kW" else 1e-3), _number(pue), _number(factor), "as the card has it"
    )
    holds = agrees(value, convention.grams(_number(hours)) / GRAMS[mass])
    return Finding("holds" if holds else "differs", f"{value} {mass}: {convention.in_words(_number(hours))}", line)


def _multiplied(line: int, hours: str, value: str, unit: str, conventions: Sequence[Convention]) -> Finding:
    stated = f"{value} {unit} CO2eq for {hours} GPU-h"
    gpu_hours = _number(hours)
    fitting = [one for one in conventions if agrees(value, one.grams(gpu_hours) / GRAMS[unit.lower()])]
    if fitting:
        return Finding("holds", f"{stated}: {fitting[0].in_words(gpu_hours)}", line)
    if len(conventions) == 1:
        return Finding("differs", f"{stated}: {conventions[0].in_words(gpu_hours)}", line)
    per_hour = _grams(value, unit) / gpu_hours if gpu_hours else 0.0
    nearest = min(conventions, key=lambda one: abs(one.grams(1.0) - per_hour))
    return Finding(
        "unknown",
        f"{stated}: {per_hour:.4g} g per GPU-h, which no profile's power x PUE x factor gives; the nearest gives "
        f"{nearest.grams(gpu_hours):,.2f} g ({nearest.source}); name the constants with --cluster, or --power, --pue "
        "and --factor",
        line,
    )


def _wall_time(line: int, said: str, gpu_hours: Sequence[str]) -> Iterator[Finding]:
    """Check GPU-hours against GPUs x hours, if the sentence gives one number of each (or one wall time).

    GPUs next to a number of nodes may be those of all nodes or of each.
    """
    gpus, nodes, found = set(GPUS.findall(said)), set(NODES.findall(said)), HOURS.findall(said)
    walls = {hours for hours, is_wall in found if is_wall} or {hours for hours, _ in found}
    if len(gpus) == len(walls) == 1 and gpu_hours:
        (number,), (wall,) = gpus, walls
        product = _number(number) * _number(wall)
        products = {f"{number} GPUs x {wall} h": product}
        if len(nodes) == 1:
            (count,) = nodes
            products[f"{count} nodes x {number} GPUs x {wall} h"] = _number(count) * product
        holds = next((words for words, value in products.items() if agrees(gpu_hours[0], value)), None)
        shown = holds or next(iter(products))
        yield Finding(
            "holds" if holds else "differs", f"{gpu_hours[0]} GPU-h: {shown} = {products[shown]:g} GPU-h", line
        )


def _metadata(metadata: Mapping[str, Any], said: Sequence[Stated]) -> Iterator[Finding]:
    stated = metadata.get("co2_eq_emissions")
    value = figure(stated.get("emissions") if isinstance(stated, dict) else stated)
    if value is None:
        return
    claim = f"metadata: {value:g} g CO2eq"
    if not said:
        yield Finding("computed", f"{claim} (the hub's unit is grams); the text states none")
        return
    if same := next((one for one in said if _is_written(value, one.words) or agrees(exact(value), one.grams)), None):
        yield Finding("holds", f"{claim} is the text's {same.words}")
        return
    thousand = [one for one in said if value and round(one.grams / value) == 1000]
    texts = dict.fromkeys(one.words for one in thousand or [one for one in said if one.is_of_hours] or said)
    near = ", ".join(list(texts)[:3])
    if len(texts) == 1 or any(one.is_of_hours for one in said):
        factor = f" ({thousand[0].grams / value:g} times as much)" if thousand else ""
        yield Finding("differs", f"{claim}, the text has {near}{factor}; the hub's unit is grams")
    else:
        yield Finding("unknown", f"{claim} is none of the text's figures, as {near}, which may be of other things")


def _is_written(grams: float, words: str) -> bool:
    value, unit = words.split()
    return agrees(value, grams / GRAMS[unit.lower()])


def _grams(value: str, unit: str) -> float:
    return _number(value) * GRAMS[unit.lower()]


def _number(text: str) -> float:
    return float(bare_number(text))
