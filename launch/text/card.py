"""The findings of a card's verification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detour.cards.findings import Finding, Verdict
from detour.errors import UserError
from detour.launch.text.screen import columns, show, show_json
from detour.text import counted, plain, wrapped

MARKS: dict[Verdict, str] = {"holds": "✓", "differs": "✗", "computed": "·", "unknown": "?"}


def show_findings(card: Path, findings: Sequence[Finding], *, as_json: bool) -> None:
    """Raises UserError if something differs, so that scripts notice."""
    if as_json:
        show_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            place = f" (line {finding.line})" if finding.line else ""
            show(*wrapped(f"{MARKS[finding.verdict]} {plain(finding.sentence)}{place}", "", columns()))
        show("✓ holds  ✗ differs  · computed, not claimed  ? cannot be checked")
    if wrong := sum(finding.verdict == "differs" for finding in findings):
        raise UserError(f"{card}: {counted(wrong, 'figure')} not as computed: correct the card")
