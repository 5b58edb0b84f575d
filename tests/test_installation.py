"""The installed package: built, installed away from the checkout, called from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from detour.config.roots import config_roots

REPOSITORY = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("installation")  # one wheel and one environment for all


def build(source: Path, target: str, folder: Path) -> Path:
    """`target` (`wheel` or `sdist`) of the project in `source`, built without network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def names_in(wheel: Path) -> list[str]:
    return sorted(ZipFile(wheel).namelist())


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel; its dependencies are borrowed from that of the tests."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def detour(self) -> Path:
        return self.root / "bin" / "detour"

    @property
    def packages(self) -> Path:
        return next(self.root.glob("lib/python*/site-packages"))

    def run(self, *command: str | Path, cwd: Path, python_path: Path | None = None) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DETOUR"))}
        more = {} if python_path is None else {"PYTHONPATH": str(python_path)}
        done = subprocess.run(command, cwd=cwd, env=kept | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(REPOSITORY, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = Installed(tmp_path_factory.mktemp("installed") / "venv")
    venv.create(environment.root, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--quiet", str(wheel)], check=True)
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (environment.packages / "borrowed.pth").write_text("\n".join(borrowed))
    return environment


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """A folder with packages `launch` and `jobs` of another project, and with results in a folder named `detour`."""
    folder = tmp_path / "decoys"
    for name in ("launch", "jobs"):
        (folder / name).mkdir(parents=True)
        for module in ("__init__", "__main__", "cli"):
            (folder / name / f"{module}.py").write_text(f"OWNER = 'the user'\nprint('decoy {name}.{module}')\n")
    (folder / "detour").mkdir()
    (folder / "detour" / "notes.txt").write_text("results of detour\n")
    return folder


def test_a_wheel_holds_every_file_of_the_package_once(wheel: Path) -> None:
    package = REPOSITORY / "src" / "detour"
    files = [Path(folder, name) for folder, _, names in os.walk(package, followlinks=True) for name in names]
    expected = [str(file.relative_to(package.parent)) for file in files if "__pycache__" not in file.parts]
    assert [name for name in names_in(wheel) if name.startswith("detour/")] == sorted(expected)


def test_a_wheel_installs_nothing_outside_the_package(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"detour"}


def test_a_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(build(REPOSITORY, "sdist", tmp_path / "sdist"), tmp_path)
    (source,) = tmp_path.glob("detour-*")
    assert names_in(build(source, "wheel", tmp_path / "wheel")) == names_in(wheel)


def test_the_installed_command_runs_its_own_code(installed: Installed, empty: Path) -> None:
    place = installed.run(installed.python, "-c", "import detour; print(detour.__file__)", cwd=empty)
    assert Path(place.strip()).is_relative_to(installed.packages)
    assert "status" in installed.run(installed.detour, "--help", cwd=empty)


def test_shipped_clusters_are_known_without_a_checkout(installed: Installed, empty: Path) -> None:
    profiles = json.loads(installed.run(installed.detour, "clusters", "--json", cwd=empty))
    assert {Path(profile["file"]).parent for profile in profiles} == {installed.packages / "detour/configs/clusters"}
    assert "jean-zay" in [profile["name"] for profile in profiles]


@pytest.mark.parametrize("folder", ["recipes", "sweeps"])
def test_shipped_recipes_and_sweeps_are_planned_by_name_without_a_checkout(
    folder: str, installed: Installed, empty: Path
) -> None:
    name = {"recipes": "quickstart", "sweeps": "quickstart-sweep"}[folder]
    here = subprocess.run(
        [Path(sys.executable).parent / "detour", "plan", config_roots()[-1] / folder / f"{name}.yaml"],
        cwd=empty,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert installed.run(installed.detour, "plan", name, cwd=empty) == here


def test_other_packages_named_launch_and_jobs_are_not_run(installed: Installed, decoys: Path) -> None:
    shown = installed.run(installed.detour, "plan", "quickstart", cwd=decoys, python_path=decoys)
    assert shown.startswith("quickstart: ")
    usage = installed.run(installed.python, "-uP", "-m", "detour.jobs", "--help", cwd=decoys, python_path=decoys)
    assert usage.startswith("usage: python -m detour.jobs")


def test_launch_and_jobs_remain_names_of_the_user(installed: Installed, decoys: Path) -> None:
    code = "import detour.launch.cli, detour.jobs, launch, jobs; print(launch.OWNER, jobs.OWNER)"
    shown = installed.run(installed.python, "-c", code, cwd=decoys, python_path=decoys)
    assert shown.splitlines()[-1] == "the user the user"


def test_jobs_of_an_installed_detour_run_a_snapshot_of_it(installed: Installed, empty: Path) -> None:
    take = "from detour.ledger.workspace import Workspace; from detour.orchestration.code_snapshot import *\n"
    take += "print(take_code_snapshot(Workspace.find()).folder)"
    code = Path(installed.run(installed.python, "-c", take, cwd=empty).strip()) / "src"
    usage = installed.run(installed.python, "-uP", "-m", "detour.jobs", "--help", cwd=empty, python_path=code)
    assert usage.startswith("usage: python -m detour.jobs")
    where = "import detour.jobs, detour.launch.cli; print(detour.jobs.__file__)"
    shown = installed.run(installed.python, "-c", where, cwd=empty, python_path=code)
    assert Path(shown.strip()).is_relative_to(code)
