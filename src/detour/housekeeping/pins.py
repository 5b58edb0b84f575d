"""Stages that a person wants to keep whatever the plans need: <workspace>/pins/<stage id>, containing the reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from detour.files import write_atomic
from detour.ledger.folders import make_folder
from detour.ledger.workspace import Workspace


def pinned(workspace: Workspace) -> set[str]:
    """Ids of the pinned stages."""
    folder = _folder(workspace)
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.is_dir() else set()


def pin(workspace: Workspace, stages: Iterable[str], why: str) -> None:
    make_folder(workspace.root, _folder(workspace))
    for stage in stages:
        write_atomic(_folder(workspace) / stage, f"{why}\n")


def unpin(workspace: Workspace, stages: Iterable[str]) -> list[str]:
    """Remove pins; returns the stages that were pinned."""
    found = [stage for stage in stages if (_folder(workspace) / stage).exists()]
    for stage in found:
        (_folder(workspace) / stage).unlink(missing_ok=True)
    return found


def _folder(workspace: Workspace) -> Path:
    return workspace.root / "pins"
