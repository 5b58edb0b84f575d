"""`detour card verify`: check a card made by detour against the ledger, and any other against its own arithmetic."""

from __future__ import annotations

from pathlib import Path

from detour.cards.conventions import Convention
from detour.cards.exported import CARD
from detour.cards.findings import Finding
from detour.cards.footprint_claims import footprint_findings
from detour.cards.gathering import gather
from detour.cards.hub_folder import Record
from detour.cards.own_card import own_findings
from detour.cards.reading import card_text, read_card
from detour.cards.rendering import render
from detour.cards.score_claims import score_findings
from detour.cards.table_claims import total_findings
from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.files import is_file_or_pipe
from detour.ledger.identity import workspace_id
from detour.ledger.workspace import Workspace


def verify_card(path: Path, workspace: Workspace, given: Convention | None = None) -> list[Finding]:
    """Check the card at `path`, a file or its folder. Raises UserError if there is none."""
    file = path / CARD if path.is_dir() else path
    if not is_file_or_pipe(file):
        raise UserError(f"{file}: no such card")
    record = Record.read(file.parent) if file.name == CARD else None
    if record is not None:
        return list(_against_ledger(file, record, workspace))
    card = read_card(file)
    found = [*score_findings(card), *total_findings(card), *footprint_findings(card, given)]
    if not found:
        found.append(Finding("unknown", "it has no table of results and no GPU-hours that arithmetic could check"))
    if card.restored:
        restored = "the metadata had lost their indentation; they are read as the hub lays them out"
        found.insert(0, Finding("unknown", restored))
    return found


def _against_ledger(file: Path, record: Record, workspace: Workspace) -> list[Finding]:
    if not workspace.root.is_dir() or workspace_id(workspace.root) != record.workspace:
        raise UserError(
            f"{file}: was made in a workspace other than {workspace.root}; name that one with --workspace, or move "
            "card.json away to check the card's arithmetic alone"
        )
    cluster = load_cluster(record.cluster) if record.cluster else None
    content = gather(workspace, record.chain, record.about, method=record.method, cluster=cluster)
    now = content.lineage and content.lineage.export
    if record.export not in (None, now):
        raise UserError(
            f"{file}: describes {record.export}, and the recipe of {record.chain} now makes {now}: the figures of an "
            "earlier version cannot be gathered again; move card.json away to check the card's arithmetic alone"
        )
    return list(own_findings(card_text(file), render(content, record.template)))
