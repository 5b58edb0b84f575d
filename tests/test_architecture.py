"""The rules of the house that import-linter's contracts (pyproject.toml) cannot say."""

from __future__ import annotations

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "composer", "numpy", "submitit", "pydantic", "yaml"}
CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sacctmgr", "sinfo")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("detour", include_external_packages=True, cache_dir=None)


def own(graph: grimp.ImportGraph) -> set[str]:
    return {module for module in graph.modules if module.partition(".")[0] == "detour"}


def test_no_module_reaches_itself_through_its_imports(graph: grimp.ImportGraph) -> None:
    modules = own(graph)
    imports = {module: graph.find_modules_directly_imported_by(module) & modules for module in modules}
    order = list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the cycle
    assert set(order) == modules


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("module", ["detour.launch.cli", "detour.ledger.workspace", "detour.scheduler.commands"])
def test_what_starts_every_command_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_one_module_speaks_to_slurm() -> None:
    """A client's name begins a command, be it a list or our `ask(...)`, nowhere else."""
    command = re.compile(rf"""(\[|\bask\(|\b_text\()\s*["']({"|".join(CLIENTS)})["']""")
    sources = [path for name in ("src", "jobs", "launch") for path in (REPOSITORY / name).rglob("*.py")]
    speakers = {path.relative_to(REPOSITORY).as_posix() for path in sources if command.search(path.read_text())}
    assert speakers == {"src/detour/scheduler/commands.py"}
