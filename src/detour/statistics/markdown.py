"""Parse pipe tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

RULE = re.compile(r":?-+:?")
"""A cell of the line below a header."""


@dataclass(frozen=True, slots=True)
class Table:
    line: int
    """Line number of its header, from 1."""
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """Line number and cells."""


def tables_in(text: str) -> Iterator[Table]:
    lines = unwrapped(text).splitlines()
    for place in range(1, len(lines)):
        if "|" not in lines[place - 1] or not _is_rule(lines[place]):
            continue
        rows = []
        for number, line in enumerate(lines[place + 1 :], place + 2):
            if "|" not in line:
                break
            rows.append((number, cells_of(line)))
        yield Table(place, cells_of(lines[place - 1]), tuple(rows))


def _is_rule(line: str) -> bool:
    return "|" in line and all(map(RULE.fullmatch, cells_of(line)))


def cells_of(line: str) -> tuple[str, ...]:
    """Split a row into cells; an escaped bar is part of its cell."""
    bare = line.strip().removeprefix("|").removesuffix("|")
    return tuple(cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", bare))


def unwrapped(text: str) -> str:
    """Remove the bars around every line that some viewers add when text is copied."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].strip() != "| --- |" or not all(line.startswith("|") for line in lines if line.strip()):
        return text.removeprefix("\ufeff")
    return "\n".join(line.removeprefix("|").removeprefix(" ").removesuffix("|").rstrip() for line in lines)
