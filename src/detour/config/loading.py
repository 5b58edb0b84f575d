"""Load recipes and clusters from YAML files, reporting all problems of a file at once: the entry point of this room.

Imports nothing heavier than pydantic and yaml, so that planning works on a login node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detour.config.cluster import Cluster
from detour.config.layers import read_layers
from detour.config.models import Recipe
from detour.config.overrides import apply_override
from detour.config.problems import COMMAND_LINE, Problem, RecipeError, shown, similar_file
from detour.config.roots import find_named, names_in
from detour.config.validation import validate
from detour.config.yaml_source import Node
from detour.files import is_file_or_pipe
from detour.paths import written_path
from detour.text import suggestion

_NOTHING = Node(COMMAND_LINE, None)
_HUB_ID = re.compile(r"(?!\.{1,2}/)[\w.-]+(/[\w.-]+)?", re.ASCII)


def recipe_path(name_or_path: Path) -> Path:
    """Find a recipe or sweep by path, or by name: `configs/recipes/NAME.yaml`, then `configs/sweeps`.

    Anything that ends in .yaml, contains a `/` or exists as a file is a path. Raises RecipeError for an unknown name.
    """
    name_or_path = written_path(str(name_or_path))
    name = str(name_or_path)
    is_file = os.path.isfile(name)  # noqa: PTH113 - a name too long for a file is unknown
    if not is_file and is_file_or_pipe(name_or_path):
        raise RecipeError.of_file(name, "is a pipe, and a recipe is read twice: give a file")
    if not is_name(name) or is_file:
        return name_or_path
    folders = ("recipes", "sweeps")
    if found := next(filter(None, (find_named(folder, name) for folder in folders)), None):
        return found
    if os.path.isdir(name):  # noqa: PTH112 - as above
        raise RecipeError.of_file(name, "is a folder: give a YAML file in it, or the name of a recipe")
    names = [known for folder in folders for known in names_in(folder)]
    hint = similar_file(Path(f"{name}.yaml")) or suggestion(name, names)
    raise RecipeError.of_file(name, f"no such recipe or sweep{hint}")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load the recipe at `path` with `key=value` overrides applied. Raises RecipeError (exit code 2)."""
    return validate(Recipe, *recipe_tree(path, overrides))


def recipe_tree(path: Path, overrides: Sequence[str] = ()) -> tuple[Node, list[Problem]]:
    """Return the merged document before validation, and the problems in its files."""
    tree, problems = read_layers(path, _benchmark_by_name)
    here = Path.cwd() / "command-line"
    for text in overrides:
        tree = _benchmark_by_name(apply_override(tree, text, problems), here, problems)
    return absolute_paths(tree), problems


def finished_tree(tree: Node, file: Path, problems: list[Problem]) -> Node:
    """Return a tree changed by `file`, with the benchmark names and paths written there resolved."""
    return absolute_paths(_benchmark_by_name(tree, file, problems))


def load_cluster(name_or_path: str | Path) -> Cluster:
    """Load a profile by name (`configs/clusters/NAME.yaml`) or by path (ends in .yaml or contains a `/`)."""
    path = written_path(str(name_or_path))
    if is_name(str(name_or_path)):
        found = find_named("clusters", path.name)
        if found is None:
            hint = suggestion(path.name, available_clusters())
            raise RecipeError.of_file(str(name_or_path), f"no such cluster profile{hint}")
        path = found
    tree, problems = read_layers(path)
    return validate(Cluster, change_at(tree, ("site", "grid_hourly", "path"), _absolute), problems)


def is_name(written: str) -> bool:
    """Whether this is a name to find in `configs`, not the path of a file."""
    return "/" not in written and not written.endswith((".yaml", ".yml"))


def available_clusters() -> list[str]:
    """Return the names that `load_cluster` knows: those in `./configs/clusters` and those shipped."""
    return names_in("clusters")


def profile_path(name: str) -> Path:
    """Return the file of a profile, by the name or path that `load_cluster` takes."""
    return find_named("clusters", name) or written_path(name).absolute()


@dataclass(frozen=True, slots=True)
class Profile:
    """A cluster profile, or the problem that prevents reading it."""

    name: str
    path: Path
    cluster: Cluster | None
    problem: str | None = None


def read_profile(name: str) -> Profile:
    """Read a profile without raising: if it cannot be read, its first problem is returned."""
    try:
        return Profile(name, profile_path(name), load_cluster(name))
    except RecipeError as error:
        return Profile(name, profile_path(name), None, str(error.problems[0]))


def absolute_paths(tree: Node) -> Node:
    """Make files and local folders absolute; they are relative to the file that names them (or the current folder)."""
    tree = change_at(tree, ("data", "sources", "*"), _absolute_file)
    tree = change_at(tree, ("benchmark", "tasks", "*", "data"), _absolute_file)
    tree = change_at(tree, ("model", "pretrained"), _absolute_folder)
    return change_at(tree, ("tokenizer", "pretrained"), _absolute_folder)


def change_at(node: Node, path: Sequence[str], change: Callable[[Node], Node]) -> Node:
    """Return a copy of `node` with `change` applied at `path`, if it exists; `*` stands for every list item."""
    if not path:
        return change(node)
    if path[0] == "*" and node.items:
        return replace(node, value=[change_at(item, path[1:], change) for item in node.items])
    if path[0] in node.mapping:
        changed = change_at(node.mapping[path[0]], path[1:], change)
        return replace(node, value={**node.mapping, path[0]: changed})
    return node


def _absolute_file(node: Node) -> Node:
    """Make `path` absolute unless it is relative to a package or a hub's data set."""
    if any(node.mapping.get(key, _NOTHING).value for key in ("package", "hub")):
        return node
    return change_at(node, ("path",), _absolute)


def _absolute_folder(node: Node) -> Node:
    """Make a local folder absolute and leave a hub id unchanged. What could be either is a folder if it exists."""
    if not isinstance(node.value, str) or not node.value.strip():
        return node
    local = _absolute(node)
    return local if not _HUB_ID.fullmatch(node.value) or os.path.isdir(str(local.value)) else node  # noqa: PTH112


def _absolute(node: Node) -> Node:
    if not isinstance(node.value, str):
        return node
    beside = Path.cwd() if node.position == COMMAND_LINE else Path.cwd() / Path(node.position.file).parent
    return replace(node, value=os.path.normpath(beside / written_path(node.value)))


def _benchmark_by_name(node: Node, file: Path, problems: list[Problem]) -> Node:
    """Replace `benchmark: NAME` by the content of `configs/benchmarks/NAME.yaml` (or of the named file)."""
    return change_at(node, ("benchmark",), lambda child: _benchmark(child, file, problems))


def _benchmark(node: Node, file: Path, problems: list[Problem]) -> Node:
    if not isinstance(node.value, str):
        return node
    if node.value.endswith((".yaml", ".yml")):
        written = file.parent / written_path(node.value)
        found = written if written.exists() else None
        absent = f"no such file: {shown(written)}{similar_file(written)}"
    else:
        found = find_named("benchmarks", node.value, file)
        hint = "" if found else suggestion(node.value, names_in("benchmarks", file))
        absent = f'no benchmark "{node.value}" in configs/benchmarks{hint}'
    if found is None:
        problems.append(Problem(node.position, "benchmark", absent))
        return Node(node.position, None)
    try:
        tree, inside = read_layers(found)
    except RecipeError as error:
        problems += error.problems
        return Node(node.position, None)
    problems += inside
    return replace(tree, whole=True)
