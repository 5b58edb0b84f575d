"""Versions of models: every export that chains of the same name ever had.

A **model** has the name of the chain that makes it. Its **versions** are the exports of all recipes planned under that
name, identified by their stage's key: equal keys are one version, and versions are not numbered. An **alias**
(`candidate`, `production`, or any name) points to one of them: it is the link `models/NAME@ALIAS`, whereas
`models/NAME` points to the export of the recipe's current plan.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detour.checkpoints.manifest import read_manifest
from detour.errors import UserError
from detour.ledger.events import ChainPlanned
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.files import nearest
from detour.planning.selection import known_chains

SHORT = 8
"""Number of digits of a key to show; users may give more or fewer."""
KIND, EVALUATION = "export-", "evaluate-"


@dataclass(frozen=True, slots=True)
class Version:
    model: str
    export: str
    """Stage id."""
    stages: tuple[str, ...]
    """Ids of all stages of the newest plan that contained it, rather one with evaluations than one without."""
    sha256: str | None
    """Digest over all files of the export; None if its manifest cannot be read."""
    made_s: float
    """Time of its export, in seconds since the epoch."""
    aliases: tuple[str, ...] = ()
    is_current: bool = False
    """Whether the recipe, as last planned, makes it."""

    @property
    def key(self) -> str:
        return self.export.removeprefix(KIND)

    @property
    def name(self) -> str:
        """Name of the version: `base@1a2b3c4d`."""
        return f"{self.model}@{self.key[:SHORT]}"


def model_versions(workspace: Workspace, model: str | None = None) -> list[Version]:
    """Return the finished versions of one model or of all, ordered by model, oldest first."""
    plans = known_chains(workspace).chains
    view = LedgerView(workspace)
    stages_of = [(entry.chain, tuple(entry.event.stages)) for entry in view.commands(ChainPlanned) if entry.chain]
    stages_of += [(name, tuple(stage.id for stage in plan.stages)) for name, plan in plans.items()]  # also lost events
    planned: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, stages in stages_of:
        for export in (stage for stage in stages if stage.startswith(KIND)):
            if (name, export) not in planned or any(stage.startswith(EVALUATION) for stage in stages):
                planned[name, export] = stages
    state, pointed = view.state, aliases_by_model(workspace)
    versions = [
        Version(
            model=name,
            export=export,
            stages=stages,
            sha256=_sha256(workspace.output(export)),
            made_s=state.stage(export).ended_s or workspace.manifest(export).stat().st_mtime,
            aliases=tuple(sorted(alias for alias, target in pointed.get(name, {}).items() if target == export)),
            is_current=name in plans and any(stage.id == export for stage in plans[name].stages),
        )
        for (name, export), stages in planned.items()
        if model in (None, name) and workspace.is_done(export)
    ]
    return sorted(versions, key=lambda version: (version.model, version.made_s, version.key))


def find_version(workspace: Workspace, wanted: str) -> Version:
    """Find `NAME` (of the current recipe, otherwise the newest), `NAME@ALIAS` or `NAME@KEY` (first digits of the key).

    Raises UserError, listing the existing versions, if none or several match.
    """
    model, at, which = wanted.partition("@")
    versions = model_versions(workspace, model)
    if not versions:
        known = sorted({version.model for version in model_versions(workspace)})
        hint = nearest(model, known) if known else "; `detour run RECIPE` makes one"
        raise UserError(f"no model named {model!r} has a finished export in {workspace.root}{hint}")
    if not at:
        return next((version for version in versions if version.is_current), versions[-1])
    named = [version for version in versions if which in version.aliases]
    fitting = named or [version for version in versions if which and version.key.startswith(which)]
    if len(fitting) == 1:
        return fitting[0]
    said = "several versions fit" if fitting else "no such version or alias"
    there = ", ".join(", ".join((version.key[:SHORT], *version.aliases)) for version in versions)
    raise UserError(f"{wanted}: {said}; {model} has {there}")


def alias_link(workspace: Workspace, model: str, alias: str) -> Path:
    return workspace.root / "models" / f"{model}@{alias}"


def aliases_by_model(workspace: Workspace) -> Mapping[str, Mapping[str, str]]:
    """Return model -> alias -> id of the export that it points to; links to anything else are ignored."""
    found: dict[str, dict[str, str]] = {}
    for link in (workspace.root / "models").glob("*@*"):
        name, _, alias = link.name.partition("@")
        if (export := export_behind(workspace, link)) is not None:
            found.setdefault(name, {})[alias] = export
    return found


def export_behind(workspace: Workspace, link: Path) -> str | None:
    """Return the id of the export stage that a link in models/ points to, None for other links."""
    if not link.is_symlink():
        return None
    target = Path(os.path.normpath(link.parent / link.readlink()))
    export = target.parent.name
    return export if export.startswith(KIND) and target == workspace.output(export) else None


def _sha256(output: Path) -> str | None:
    try:
        return str(read_manifest(output)["sha256"])
    except ValueError:
        return None
