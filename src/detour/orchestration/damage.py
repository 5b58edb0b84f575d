"""What has changed since it was made: outputs whose files changed, and texts that a plan was made for.

A job detects the change and stops, but cannot make its input again, since the stage that made it counts as done. A
retry can.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from detour.checkpoints.manifest import not_output_of, read_manifest, verify_manifest
from detour.corpus.files import check_unchanged
from detour.errors import UserError
from detour.ledger.folders import refuse_links
from detour.ledger.workspace import Workspace
from detour.planning.stage import EvaluateStage, PrepareStage, Stage

DELIVERED = ("export", "evaluate", "summarize")
"""Kinds of stages whose outputs people use."""


def damaged_outputs(workspace: Workspace, stages: Collection[Stage]) -> dict[str, str]:
    """Id -> what is wrong with its output, for done stages that are used: by people, or by stages still to run.

    Inputs of a damaged stage count too, since it has to run again. All files are read: only a digest proves that they
    are intact.
    """
    by_id = {stage.id: stage for stage in stages}
    used = [stage.id for stage in stages if stage.kind in DELIVERED]
    used += [input_id for stage in stages if not workspace.is_done(stage.id) for input_id in stage.inputs.values()]
    seen: set[str] = set()
    damaged: dict[str, str] = {}
    while used:
        stage_id = used.pop()
        if stage_id in seen or not workspace.is_done(stage_id):
            continue
        seen.add(stage_id)
        if problem := _problem(workspace.output(stage_id), stage_id):
            damaged[stage_id] = problem
            used += by_id[stage_id].inputs.values() if stage_id in by_id else []
    return damaged


def _problem(output: Path, stage_id: str) -> str | None:
    if problems := verify_manifest(output):
        return "; ".join(problems)
    return not_output_of(stage_id, read_manifest(output))


def set_aside(workspace: Workspace, damaged: Iterable[str]) -> None:
    """Rename the outputs of the stages with these ids, which count as not done from then on.

    The next attempt removes what was set aside; until then it can be inspected.
    """
    for stage_id in damaged:
        output = workspace.output(stage_id)
        refuse_links(workspace.root, output)
        if output.exists():
            output.rename(output.with_name(f"output.damaged-{secrets.token_hex(4)}"))


def require_texts(stages: Iterable[Stage]) -> None:
    """Raises UserError if files that these stages read are missing or not as planned.

    Otherwise their jobs would find out in the queue.
    """
    wanted: dict[tuple[Path, ...], Sequence[str]] = {}
    for stage in stages:
        if isinstance(stage, PrepareStage):
            paths: Mapping[str, tuple[Path, ...]] = stage.runtime.source_paths
            for source, files in stage.settings.sources:
                wanted[paths[source.name]] = [file.fingerprint for file in files]
        elif isinstance(stage, EvaluateStage):
            wanted[stage.runtime.paths] = [file.fingerprint for file in stage.settings.files]
    for files_here, planned in wanted.items():
        if missing := [path for path in files_here if not path.exists()]:
            raise UserError(f"{missing[0]}: no longer here; put it back, or submit the recipe as it is now")
        check_unchanged(files_here, planned)
