"""The lineage of a model: the stages, data, recipe, code and jobs that made it, and the gates that were overridden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from detour.canonical import at
from detour.checkpoints.acceptance import accepted_gates
from detour.checkpoints.manifest import read_manifest
from detour.errors import UserError
from detour.ledger.state import StageState
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.models.stages import known_stage
from detour.planning.origins import Folder, Published
from detour.planning.stage import PrepareStage, PretrainStage, Stage
from detour.text import natural_key


@dataclass(frozen=True, slots=True)
class DataFile:
    source: str
    name: str
    fingerprint: str
    """Digest of its content; see `detour.corpus.fingerprints`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a lineage; values that cannot be read are None or empty."""

    stage: str
    label: str
    sha256: str | None
    """Digest over all files of its output."""
    inputs: Mapping[str, str]
    """Role -> stage id."""
    settings: Mapping[str, Any]
    """The part of the recipe that determines its result."""
    data: tuple[DataFile, ...]
    start: str | None
    """Hub id of published weights that it starts from."""
    code: str | None
    """Commit, or version if it was installed."""
    machine: str | None
    jobs: tuple[str, ...]
    attempts: int
    overridden: Mapping[str, str]
    """Gate -> reason for which a user overrode it."""


def lineage(workspace: Workspace, stage_id: str) -> list[Step]:
    """Return the stage and everything it was made from, inputs first, each once. Raises UserError if unknown."""
    state = LedgerView(workspace).state
    found: dict[str, Step] = {}

    def follow(current: str) -> None:
        if current in found:
            return
        stage = known_stage(workspace, current)
        for upstream in stage.inputs.values():
            follow(upstream)
        found[current] = _step(workspace, stage, state.stage(current))

    follow(stage_id)
    return list(found.values())


def _step(workspace: Workspace, stage: Stage, known: StageState) -> Step:
    try:
        manifest = read_manifest(workspace.output(stage.id))
    except ValueError:
        manifest = {}
    code = at(manifest, "provenance", "code")
    commit = at(code, "snapshot", "git_commit") if at(code, "snapshot") else at(code, "git_commit")
    return Step(
        stage=stage.id,
        label=stage.label,
        sha256=_text(manifest.get("sha256")),
        inputs=dict(stage.inputs),
        settings=stage.settings.to_json(),
        data=tuple(_data(stage)),
        start=_start(stage),
        code=_text(commit or at(code, "version")),
        machine=_text(at(manifest, "provenance", "machine", "node")),
        jobs=tuple(sorted(known.all_jobs, key=natural_key)),
        attempts=len(known.attempts),
        overridden=_overridden(workspace, stage),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _data(stage: Stage) -> Iterator[DataFile]:
    if isinstance(stage, PrepareStage):
        for source, files in stage.settings.used:
            yield from (DataFile(source.name, file.name, file.fingerprint) for file in files)
    if isinstance(stage, PretrainStage) and isinstance(model := stage.settings.model, Folder):
        yield from (DataFile("weights", file.name, file.fingerprint) for file in model.files)


def _start(stage: Stage) -> str | None:
    if not (isinstance(stage, PretrainStage) and isinstance(model := stage.settings.model, Published)):
        return None
    return f"{model.pretrained}@{model.revision}" if model.revision else model.pretrained


def _overridden(workspace: Workspace, stage: Stage) -> Mapping[str, str]:
    try:
        return accepted_gates(workspace.stage(stage.id))
    except UserError:
        return {}
