"""Rules of the architecture that import-linter's contracts (pyproject.toml) cannot express."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from detour.launch.text.help import VERBS

REPOSITORY = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "composer", "numpy", "submitit", "pydantic", "yaml"}
LARGEST_SHARE = 0.11
LONGEST_VERB = 100
TOP_LEVEL = {
    *(".ci", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"),
    *("README.md", "configs", "docs", "jobs", "launch", "pyproject.toml", "src", "tests"),
}
CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sacctmgr", "sinfo")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("detour", include_external_packages=True, cache_dir=None)


def own(graph: grimp.ImportGraph) -> set[str]:
    return {module for module in graph.modules if module.partition(".")[0] == "detour"}


def sources() -> list[Path]:
    """Return all Python files of the project except tests, each once: `src/detour` links to `launch` and `jobs`."""
    return [path for name in ("src", "jobs", "launch") for path in (REPOSITORY / name).rglob("*.py")]


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def prints(path: Path) -> bool:
    """Whether the module calls `print` or `click.echo`; code in strings does not count."""
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(ast.unparse(function) in ("print", "click.echo", "click.secho") for function in calls)


def room_of(path: Path) -> str:
    """Return `config`, `launch`, `launch/text`, `jobs`; `detour` for modules outside a room."""
    folder = path.relative_to(REPOSITORY).parent.as_posix().removeprefix("src/detour/")
    return "detour" if folder == "src/detour" else folder


def test_there_are_no_import_cycles(graph: grimp.ImportGraph) -> None:
    modules = own(graph)
    imports = {module: graph.find_modules_directly_imported_by(module) & modules for module in modules}
    order = list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the cycle
    assert set(order) == modules


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_every_room_and_module_is_on_a_floor(graph: grimp.ImportGraph) -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (floors,) = (contract["layers"] for contract in contracts if contract["id"] == "floors")
    assert {room.strip() for floor in floors for room in floor.split("|")} == graph.find_children("detour")


@pytest.mark.parametrize("module", ["detour.launch.cli", "detour.ledger.workspace", "detour.scheduler.commands"])
def test_the_start_of_every_command_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_the_top_level_has_no_stray_files() -> None:
    ignored = {line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().splitlines()}
    assert {path.name for path in REPOSITORY.iterdir()} - ignored - {".git"} == TOP_LEVEL


def test_only_one_module_calls_slurm() -> None:
    """No command elsewhere begins with a client's name, as a list or in `ask(...)`."""
    command = re.compile(rf"""(\[|\bask\(|\b_text\()\s*["']({"|".join(CLIENTS)})["']""")
    speakers = {path.relative_to(REPOSITORY).as_posix() for path in sources() if command.search(path.read_text())}
    assert speakers == {"src/detour/scheduler/commands.py"}


def test_only_launch_text_prints() -> None:
    assert {room_of(path) for path in sources() if prints(path)} == {"launch/text"}


def test_a_verb_is_too_short_to_decide_anything() -> None:
    """A verb parses, calls and shows; what decides is called by it, and by Python."""
    lines = {verb: lines_of(REPOSITORY / "launch" / f"{verb}.py") for verb in VERBS}
    assert {verb: length for verb, length in lines.items() if length > LONGEST_VERB} == {}


def test_no_room_exceeds_its_share_of_lines() -> None:
    rooms: Counter[str] = Counter()
    for path in sources():
        rooms[room_of(path)] += lines_of(path)
    largest = LARGEST_SHARE * rooms.total()
    assert {room: f"{lines / rooms.total():.1%}" for room, lines in rooms.items() if lines > largest} == {}
