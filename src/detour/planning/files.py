"""Read and write stages/<id>/stage.json and chains/<name>/plan.json; no other module does.

An outline is enough to show or select stages. It is read without pydantic and without checking keys, so `detour status`
is fast. To run, price or report, the stages themselves are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson

from detour.errors import UserError
from detour.ledger.stages import LOCAL_CLUSTER
from detour.ledger.workspace import Workspace
from detour.site import Site
from detour.text import stage_label, suggestion

if TYPE_CHECKING:
    from detour.planning.plan import Plan
    from detour.planning.stage import Stage

STAGE, PLAN = "stage.json", "plan.json"
FEW = 5
"""Maximum number of names that a message lists."""
Parsed = TypeVar("Parsed")


class Target(NamedTuple):
    """What a chain was last planned for, as far as `status` and retries need it; None for what the file lacks."""

    cluster: str | None = None
    site: Site | None = None
    poll_s: float | None = None
    """The site's poll interval: minimum time between queries to Slurm."""
    profile: Mapping[str, Any] | None = None
    """The cluster's profile at that time; not held by earlier versions if it was found by its name."""
    options: Mapping[str, Any] | None = None
    """Fields of `detour.orchestration.requests.JobOptions` that it was submitted with."""
    slurm_cluster: str | None = None
    """The Slurm cluster, as in the cluster's profile."""
    sweep: str | None = None
    """The sweep that the chain is part of."""
    project: str | None = None
    """The project that its hours are charged to."""
    planned_s: float | None = None
    """When it was planned, in seconds since the epoch; None by earlier versions."""
    from_file: bool = False
    """Whether the profile was not the one found by its name, whose current version a retry takes."""

    @property
    def is_local(self) -> bool:
        """Whether it is a machine without Slurm, by its profile or, in plans that hold none, by its name."""
        return self.cluster == LOCAL_CLUSTER if self.profile is None else self.profile.get("scheduler") == "local"

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "site": self.site and self.site.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Target:
        poll_s, planned_s = data.get("poll_s"), data.get("planned_s")
        return cls(
            _text(data.get("cluster")),
            Site.from_json(data.get("site")),
            poll_s if type(poll_s) in (int, float) else None,
            _mapping(data.get("profile")),
            _mapping(data.get("options")),
            _text(data.get("slurm_cluster")),
            _text(data.get("sweep")),
            _text(data.get("project")),
            planned_s if type(planned_s) in (int, float) else None,
            data.get("from_file", data.get("profile") is not None) is True,
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None


class StageOutline(NamedTuple):
    """What users see of a stage, and its inputs."""

    kind: str
    key: str
    name: str
    seed: int | None
    inputs: Mapping[str, str]

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.key}"

    @property
    def label(self) -> str:
        return stage_label(self.name, self.seed)


class ChainOutline(NamedTuple):
    chain: str
    stages: tuple[StageOutline, ...]
    target: Target


def chain_names(workspace: Workspace) -> list[str]:
    """Return the names of all chains planned in the workspace, sorted, including those whose plan cannot be read.

    Raises OSError if the folder of chains cannot be read, so that unreadable chains do not count as not planned.
    """
    folder = workspace.root / "chains"
    try:
        names = os.listdir(folder)  # noqa: PTH208  Path.glob treats an unreadable folder as empty
    except FileNotFoundError:
        return []
    return sorted(name for name in names if _is_there(folder / name / PLAN))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True


def plan_file(workspace: Workspace, chain: str) -> Path:
    return workspace.chain(chain) / PLAN


def stage_file(workspace: Workspace, stage_id: str) -> Path:
    return workspace.stage(stage_id) / STAGE


def read_stage(workspace: Workspace, stage_id: str) -> Stage:
    """Read a stage. Raises UserError if there is no such stage, or its file is damaged or was edited."""
    from detour.planning.stage import Stage

    return _read_stage(workspace, stage_id, Stage.from_json)


def read_stage_outline(workspace: Workspace, stage_id: str) -> StageOutline:
    """Read a stage's outline. Raises UserError if there is no such stage, or its file is damaged."""
    return _read_stage(workspace, stage_id, _outline)


def read_plan(workspace: Workspace, chain: str) -> tuple[Plan, Target]:
    """Read a chain as last planned. Raises UserError if there is none, or its file is damaged or was edited."""
    from detour.planning.plan import Plan

    return _read_plan(workspace, chain, lambda data: (Plan.from_json(data), Target.from_json(data)))


def read_plan_outline(workspace: Workspace, chain: str) -> ChainOutline:
    """Read a chain's outline. Raises UserError if there is no such chain, or its file is damaged."""

    def parse(data: Mapping[str, Any]) -> ChainOutline:
        return ChainOutline(chain, tuple(map(_outline, data["stages"])), Target.from_json(data))

    return _read_plan(workspace, chain, parse)


def known_outline(workspace: Workspace, chain: str) -> ChainOutline | None:
    """Read a chain's outline; None if there is no such chain, or its file is damaged."""
    try:
        return read_plan_outline(workspace, chain)
    except UserError:
        return None


def write_stage(workspace: Workspace, stage: Stage) -> None:
    """Write the stage's file, unless it has the same content already or records how a finished stage was run.

    A new file is written in place, which takes a third of the file system operations: a file truncated by a kill is
    rewritten by the next command, and no job reads it before a command has completed. Not synced.
    """
    from detour.files import naming, write_atomic
    from detour.ledger.folders import make_folder

    path, content = stage_file(workspace, stage.id), _json(stage.to_json())
    make_folder(workspace.root, path.parent, sync=False)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        if path.read_bytes() != content and not _says_how_it_was_done(workspace, stage.id):
            write_atomic(path, content, sync=False)
        return
    with naming(path), os.fdopen(descriptor, "wb") as file:
        file.write(content)


def holds_plan(workspace: Workspace, plan: Plan) -> bool:
    """Whether the chain's file exists, can be read, and lists the plan's stages."""
    kept = known_outline(workspace, plan.chain)
    return kept is not None and [stage.id for stage in kept.stages] == [stage.id for stage in plan.stages]


def write_plan(workspace: Workspace, plan: Plan, target: Target) -> None:
    """Write the chain's file. Not synced."""
    from detour.files import write_atomic
    from detour.ledger.folders import make_folder

    make_folder(workspace.root, workspace.chain(plan.chain), sync=False)
    write_atomic(plan_file(workspace, plan.chain), _json(plan.to_json() | target.to_json()), sync=False)


def _says_how_it_was_done(workspace: Workspace, stage_id: str) -> bool:
    try:
        return workspace.is_done(stage_id) and read_stage(workspace, stage_id).id == stage_id
    except UserError:
        return False


def _read_stage(workspace: Workspace, stage_id: str, parse: Callable[[Any], Parsed]) -> Parsed:
    path = stage_file(workspace, stage_id)
    try:
        return _parsed(path, "a stage", parse)
    except FileNotFoundError:
        raise UserError(f"{path}: no such stage; `detour plan` lists a chain's stages") from None


def _read_plan(workspace: Workspace, chain: str, parse: Callable[[Any], Parsed]) -> Parsed:
    try:
        return _parsed(plan_file(workspace, chain), "a plan", parse)
    except FileNotFoundError:
        raise unknown_chain(workspace, chain) from None


def unknown_chain(workspace: Workspace, chain: str) -> UserError:
    """Return the error for an unknown chain, with the closest name if one is similar."""
    names = chain_names(workspace)
    known = nearest(chain, names) if names else "; there is none yet: `detour run RECIPE` makes one"
    return UserError(f"no chain named {chain!r} in {workspace.root}{known}")


def no_chain(workspace: Workspace, problems: Iterable[str]) -> UserError:
    """Return the error for a workspace without a readable chain: the first of the problems, if there are any."""
    return UserError(next(iter(problems), f"{workspace.root}: there is no chain yet; `detour run RECIPE` makes one"))


def nearest(word: str, names: Iterable[str]) -> str:
    """Return a `suggestion`; if no name is close and there are many, a command that lists them."""
    known = dict.fromkeys(names)
    return suggestion(word, known, None if len(known) <= FEW else "; `detour list` lists what there is")


def _parsed(path: Path, what: str, parse: Callable[[Any], Parsed]) -> Parsed:
    try:
        return parse(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); ask its owner") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{path}: not {what} written by detour ({reason}); run or submit the recipe again, which rewrites it"
        ) from error


def _outline(entry: Mapping[str, Any]) -> StageOutline:
    kind, key, name, inputs, seed = entry["kind"], entry["key"], entry["label"], entry["inputs"], None
    if not all(isinstance(text, str) for text in (kind, key, name, *inputs.values())):
        raise TypeError(f"stage {kind}-{key} has a label or an input that is not text")
    if kind == "evaluate":
        name, seed = f"{kind} {entry['settings']['task']['name']}", int(entry["settings"]["seed"])
    return StageOutline(kind, key, name, seed, inputs)


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)
