"""Convert GPU-hours and CO2 stated in a card's tables into equivalent sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from detour.cards.reading import FoundCard
from detour.statistics.markdown import Table

GPU_HOURS = re.compile(r"\b(?:GPU|[AHV]\d{3})[- ]?(?:h\b|hours?\b)", re.IGNORECASE)
CO2 = re.compile(r"CO\s?(?:2|₂|<sub>2</sub>)|\bcarbon\b|\bemissions?\b", re.IGNORECASE)
MASS = re.compile(r"(?<![A-Za-z])(mg|g|kg|t|tonnes?)(?=\b|CO)")
NUMBER = re.compile(r"^~?\s*(\d[\d,]*(?:\.\d+)?)(?=[^\d.,]|$)")


def table_statements(card: FoundCard) -> Iterator[tuple[int, str]]:
    """Yield (line, sentence) such as `16 GPU-h, 0.46 kg CO2eq` per row, or per table whose rows name the figures."""
    for table in card.tables:
        if any(GPU_HOURS.search(name) or CO2.search(name) for name in table.header):
            for line, cells in table.rows:
                if said := _said(zip(table.header, cells, strict=False)):
                    yield line + card.first_line - 1, ", ".join(said)
        elif said := _said(_named_rows(table)):
            yield table.line + card.first_line - 1, ", ".join(said)


def _named_rows(table: Table) -> Iterator[tuple[str, str]]:
    for cells in (table.header, *(cells for _, cells in table.rows)):
        if len(cells) == 2:
            yield cells[0], cells[1]


def _said(named: Iterable[tuple[str, str]]) -> list[str]:
    return [sentence for name, cell in named if (sentence := _sentence(name, cell.strip("*_` ")))]


def _sentence(name: str, cell: str) -> str | None:
    number = NUMBER.match(cell)
    if number is None:
        return None
    if GPU_HOURS.search(name):
        return f"{number[1]} GPU-h"
    unit = MASS.search(cell, number.end()) or MASS.search(name)
    return f"{number[1]} {unit[1]} CO2eq" if unit and CO2.search(name) and "/" not in cell else None
