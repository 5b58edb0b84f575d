"""Look up a stage by its id: in its file, otherwise in the manifest of its output, which may outlive the file."""

from __future__ import annotations

from detour.checkpoints.manifest import read_manifest
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import read_stage
from detour.planning.stage import Stage


def known_stage(workspace: Workspace, stage_id: str) -> Stage:
    """Return a stage. Raises UserError if neither its file nor its manifest describes it."""
    try:
        return read_stage(workspace, stage_id)
    except UserError as missing:
        try:
            return Stage.from_json(read_manifest(workspace.output(stage_id))["provenance"]["stage"])
        except (ValueError, KeyError, TypeError):
            raise missing from None
