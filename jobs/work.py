"""The work of one attempt: inputs verified, its output written aside, and renamed into place when complete."""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detour.checkpoints.manifest import not_output_of, read_manifest, verify_manifest, write_manifest
from detour.checkpoints.provenance import provenance
from detour.errors import NotReady, PermanentFailure
from detour.files import fsync_directory
from detour.imports import uncollected
from detour.jobs.context import StageContext
from detour.jobs.environment import require_environment
from detour.jobs.log import best_effort
from detour.ledger.attempt import Attempt
from detour.ledger.folders import let_group_read, make_folder
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage

MAKE_AGAIN = "put it back, or make it again with `detour retry`"

StageFunction = Callable[[StageContext[Any]], dict[str, Any]]


def make_output(workspace: Workspace, stage: Stage, attempt: Attempt, number: int) -> dict[str, Any]:
    """Run the stage and put its output and manifest in place; returns its result. Leftovers of earlier attempts go."""
    folder = workspace.stage(stage.id)
    for leftover in folder.glob("output.*"):
        with best_effort(f"{leftover} stays"):
            shutil.rmtree(leftover)
    unfinished = folder / f"output.{number:04d}"
    make_folder(workspace.root, unfinished)
    try:
        result = call_stage(workspace, stage, attempt, unfinished)
    finally:
        with best_effort("another user may be unable to resume from here"):
            let_group_read(workspace.root, folder / "work")
    let_group_read(workspace.root, unfinished)
    write_manifest(
        unfinished,
        {"stage": stage.to_json(), "attempt": number, "result": result, **provenance()},
    )
    _put_in_place(unfinished, workspace.output(stage.id))
    _tidy(folder)
    return result


def _put_in_place(unfinished: Path, output: Path) -> None:
    """Rename the output into place.

    Anything there has no manifest, or the stage would be done: it is moved aside, and removed by the next start.
    """
    if os.path.lexists(output):
        output.rename(output.with_name(f"output.damaged-{secrets.token_hex(4)}"))
    unfinished.rename(output)


def _tidy(folder: Path) -> None:
    """Tidy up; once the output is in place, nothing makes the stage fail, so what cannot be removed stays."""
    with best_effort(f"{folder} is not tidied up"):
        fsync_directory(folder)
        _discard_work(folder / "work")


def _discard_work(work_dir: Path) -> None:
    """Remove checkpoints, which are not needed once the output is in place; what users' loggers wrote stays.

    By descriptor, so that a link put in its place is not followed.
    """
    descriptor = os.open(work_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(descriptor) as entries:
            doomed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name != "logs"]
        for name, is_folder in doomed:
            with best_effort(f"{work_dir / name} stays"):
                if is_folder:
                    shutil.rmtree(name, dir_fd=descriptor)
                else:
                    os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def call_stage(workspace: Workspace, stage: Stage, attempt: Attempt, output_dir: Path) -> dict[str, Any]:
    require_environment(stage.kind)
    inputs = verified_inputs(workspace, stage)
    work_dir = workspace.stage(stage.id) / "work"
    make_folder(workspace.root, work_dir)
    return stage_function(stage.kind)(StageContext(stage, inputs, work_dir, output_dir, attempt))


def stage_function(kind: str) -> StageFunction:
    """The function of a stage's kind. Imports only its module: a summary needs no torch."""
    with uncollected():
        function: StageFunction = importlib.import_module(f"detour.jobs.{kind}").run
    return function


def verified_inputs(workspace: Workspace, stage: Stage) -> dict[str, Path]:
    """Role -> output folder, once every input's marker is there, its digests hold and it is that stage's own output.

    This is the start gate. Raises NotReady, or PermanentFailure for another stage's output; both name the input and
    what is wrong with it.
    """
    folders = {}
    for role, input_id in stage.inputs.items():
        folder = workspace.output(input_id)
        if not workspace.is_done(input_id):
            raise NotReady(f"input {role} ({input_id}) is not there yet")
        if problems := verify_manifest(folder):
            raise NotReady(f"input {role} ({input_id}) is damaged: {'; '.join(problems)}; {MAKE_AGAIN}")
        if problem := not_output_of(input_id, read_manifest(folder)):
            raise PermanentFailure(f"input {role} ({folder}) is not the output of {input_id}: {problem}; {MAKE_AGAIN}")
        folders[role] = folder
    return folders
