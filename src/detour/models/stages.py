"""A stage by its id: from its file, else from the manifest of its output, which outlives it."""

from __future__ import annotations

from detour.checkpoints.manifest import read_manifest
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import read_stage
from detour.planning.stage import Stage


def known_stage(workspace: Workspace, stage_id: str) -> Stage:
    """Raises UserError where neither says what the stage is."""
    try:
        return read_stage(workspace, stage_id)
    except UserError as missing:
        try:
            return Stage.from_json(read_manifest(workspace.output(stage_id))["provenance"]["stage"])
        except (ValueError, KeyError, TypeError):
            raise missing from None
