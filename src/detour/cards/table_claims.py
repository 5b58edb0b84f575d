"""Check the totals that a card states below columns of amounts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from detour.cards.findings import Finding, agrees
from detour.cards.reading import FoundCard
from detour.statistics.markdown import Table
from detour.text import bare_number

AMOUNT = re.compile(r"^~?(\d[\d,]*(?:\.\d+)?)\s*([kMGBT]?)$")
SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}


def total_findings(card: FoundCard) -> Iterator[Finding]:
    for table in card.tables:
        yield from _totals(table, card.first_line)


def _totals(table: Table, first_line: int) -> Iterator[Finding]:
    total = next(
        ((n, row) for n, row in table.rows if row and _bare(row[0]).casefold() in ("total", "sum", "all")), None
    )
    if total is None:
        return
    number, stated = total
    parts = [row for n, row in table.rows if n < number]
    for column, name in list(enumerate(table.header))[1:]:
        amounts = [_amount(row[column]) if column < len(row) else None for row in parts]
        known = [amount for amount in amounts if amount is not None]
        shown = AMOUNT.match(_bare(stated[column])) if column < len(stated) else None
        if shown and known and len(known) == len(amounts):
            value = sum(known) / SCALES[shown[2]]
            yield Finding(
                "holds" if agrees(shown[1], value) else "differs",
                f"total of {_bare(name)}: stated {shown[0]}, its {len(known)} rows give {value:g}{shown[2]}",
                number + first_line - 1,
            )


def _amount(cell: str) -> float | None:
    found = AMOUNT.match(_bare(cell))
    return None if found is None else float(bare_number(found[1])) * SCALES[found[2]]


def _bare(cell: str) -> str:
    return cell.strip().strip("*_` ")
