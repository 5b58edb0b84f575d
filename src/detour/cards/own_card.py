"""Check every number of a card that detour made against the same card made again from the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from detour.cards.findings import Finding

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def own_findings(found: str, fresh: str) -> Iterator[Finding]:
    """Match lines by their words, then compare their numbers."""
    old, new = found.splitlines(), fresh.splitlines()
    ours, theirs = _with_figures(old), _with_figures(new)
    matcher = SequenceMatcher(None, _masked(old), _masked(new), autojunk=False)
    same = 0
    for tag, start, end, fresh_start, fresh_end in matcher.get_opcodes():
        if tag == "equal":
            for place, line in enumerate(old[start:end]):
                stated, true = NUMBER.findall(line), NUMBER.findall(new[fresh_start + place])
                same += sum(a == b for a, b in zip(stated, true, strict=True))
                yield from (
                    Finding("differs", f"{a} in {line.strip()[:80]!r}: the ledger gives {b}", start + place + 1)
                    for a, b in zip(stated, true, strict=True)
                    if a != b
                )
            continue
        for place in range(start, end):
            if ours[place]:
                yield Finding("unknown", f"{old[place].strip()[:80]!r} is not from the ledger", place + 1)
        for place in range(fresh_start, fresh_end):
            if theirs[place]:
                yield Finding("differs", f"the card lacks {new[place].strip()[:80]!r}, which the ledger gives")
    yield Finding("holds", f"{same} numbers are those of the ledger")


def _masked(lines: list[str]) -> list[str]:
    return [NUMBER.sub("#", line) for line in lines]


def _with_figures(lines: list[str]) -> list[bool]:
    """Mark the lines with numbers, and those that say of what: all of tables and of the model-index."""
    marked, inside = [], False
    for line in lines:
        inside = line == "model-index:" or (inside and line[:1] in (" ", "-") and line != "---")
        marked.append(inside or line.startswith("|") or NUMBER.search(line) is not None)
    return marked
