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
        for place, line in enumerate(old[start:end], start + 1):
            if NUMBER.search(line):
                yield Finding("unknown", f"{line.strip()[:80]!r} is not from the ledger", place)
        for line in new[fresh_start:fresh_end]:
            if NUMBER.search(line):
                yield Finding("differs", f"the card lacks {line.strip()[:80]!r}, which the ledger gives")
    yield Finding("holds", f"{same} numbers are those of the ledger")


def _masked(lines: list[str]) -> list[str]:
    return [NUMBER.sub("#", line) for line in lines]
