"""`detour doctor` without a site: this environment, and findings about a site that does not answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from detour.config.loading import load_cluster
from detour.doctor import environment
from detour.doctor.environment import (
    build_findings,
    declared,
    environment_findings,
    filesystem,
    folder_findings,
    look_at,
    package_findings,
    python_finding,
    sharing_findings,
    variable_findings,
)
from detour.launch.doctor import command
from tests.support.invoking import invoke

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
login1:/home /home nfs4 rw 0 0
lustre@tcp:/scratch /gpfs/scratch\\040space lustre rw 0 0
overlay / overlay rw 0 0
"""


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_this_machine_is_fit_for_local_runs(tmp_path: Path) -> None:
    result = invoke(command, "-w", tmp_path / "workspace")
    assert result.exit_code == 0
    assert "ok       Python" in result.stdout
    assert not (tmp_path / "workspace").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_slurm")
def test_a_site_that_does_not_answer_is_no_problem_of_the_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = invoke(command, "--cluster", "slurm-local", "-w", tmp_path)
    assert result.exit_code == 0
    assert "unknown  partitions" in result.stdout
    assert "is not on the path: is this a login node of the cluster?" in " ".join(result.stdout.split())
    assert max(map(len, result.stdout.splitlines())) <= 100
    monkeypatch.setenv("COLUMNS", "80")
    narrow = invoke(command, "--cluster", "slurm-local", "-w", tmp_path).stdout
    assert max(map(len, narrow.splitlines())) <= 80
    assert without_figures(narrow) == without_figures(result.stdout)
    data = json.loads(invoke(command, "--cluster", "slurm-local", "-w", tmp_path, "--json").stdout)
    assert data["cluster"] == "slurm-local"
    assert data["counts"]["problem"] == 0
    assert data["counts"]["unknown"] == 7
    assert (data["change"], len(data["unanswered"])) == ({}, 4)


def without_figures(shown: str) -> list[str]:
    """Its words without numbers: the free space may change between two calls."""
    return re.sub(r"\d+", "", shown).split()


def test_a_workspace_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    place = replace(look_at(tmp_path), refusal="Read-only file system")
    (finding,) = folder_findings(place)
    assert (finding.verdict, finding.site) == ("problem", "not writable: Read-only file system")
    result = invoke(command, "-w", "/proc/nowhere")
    assert result.exit_code == 2
    assert "not writable" in result.stdout


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [(0o700, "ok"), (0o2770, "ok"), (0o770, "warning"), (0o755, "warning"), (0o777, "problem")],
)
def test_others_are_kept_out_and_the_group_let_in_for_good(mode: int, verdict: str, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    findings = {finding.subject: finding for finding in folder_findings(look_at(tmp_path))}
    assert findings["privacy"].verdict == verdict
    assert findings["privacy"].site == f"mode {mode:04o}"


@pytest.mark.parametrize(("free_bytes", "verdict"), [(10**12, "ok"), (5 * 10**9, "warning"), (10**8, "problem")])
def test_too_little_space_for_checkpoints_is_a_warning_or_a_problem(
    free_bytes: int, verdict: str, tmp_path: Path
) -> None:
    place = replace(look_at(tmp_path), free_bytes=free_bytes)
    assert next(finding for finding in folder_findings(place) if finding.subject == "disk space").verdict == verdict


def test_few_files_left_and_a_wrong_clock_are_warnings(tmp_path: Path) -> None:
    place = replace(look_at(tmp_path), free_files=12, clock_offset_s=-40.0)
    shown = {finding.subject: (finding.verdict, finding.site) for finding in folder_findings(place)}
    assert shown["files"] == ("warning", "12 left")
    assert shown["clock of the files"] == ("warning", "-40 s from this machine's")
    here = {finding.subject for finding in folder_findings(look_at(tmp_path))}
    assert "clock of the files" not in here


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/work", "nfs4"),
        ("/gpfs/scratch space/me", "lustre"),
        ("/gpfs/scratch", "overlay"),
        ("/homes", "overlay"),
        ("/tmp", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    assert filesystem(Path(path), MOUNTS) == kind
    assert filesystem(Path(path), "") is None


def test_nodes_must_see_the_workspace_and_python() -> None:
    jean_zay = load_cluster("jean-zay")
    verdicts = [finding.verdict for finding in sharing_findings(jean_zay, Path("/tmp"), Path("/etc"), MOUNTS)]
    assert verdicts == ["warning", "warning"]
    mounts = "x / lustre rw 0 0\nfuse /tmp fuse.thing rw 0 0\n"
    verdicts = [finding.verdict for finding in sharing_findings(jean_zay, Path("/etc"), Path("/tmp"), mounts)]
    assert verdicts == ["ok", "unknown"]
    for name in ("local", "slurm-local"):
        assert list(sharing_findings(load_cluster(name), Path("/tmp"), Path("/etc"), MOUNTS)) == []


def test_installed_packages_are_compared_with_their_pins() -> None:
    wanted = [Requirement(text) for text in ("torch==2.13.0", "click==8.5.1", "rich>=15,<16", "numpy==2.2.6", "x")]
    found = {"torch": "2.13.0+cpu", "click": "8.4.0", "rich": "15.1", "numpy": None, "x": "1"}
    shown = {finding.subject: finding.verdict for finding in package_findings(wanted, found)}
    assert shown == {"package click": "warning", "package numpy": "problem", "packages": "ok"}
    other = {finding.subject: finding.verdict for finding in package_findings(wanted, found | {"torch": "2.12.0"})}
    assert other["package torch"] == "problem"


def test_declared_packages_come_from_the_checkout_or_else_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    python, checkout = declared()
    assert {"torch", "click", "mosaicml"} <= {requirement.name for requirement in checkout}
    assert "pytest" not in {requirement.name for requirement in checkout}
    monkeypatch.setattr(environment, "PYPROJECT", Path("/nowhere/pyproject.toml"))
    python_installed, installation = declared()
    assert python_installed == python
    assert {"torch", "click", "mosaicml"} <= {requirement.name for requirement in installation}
    assert "pytest" not in {requirement.name for requirement in installation}


def test_an_unsupported_python_is_a_problem() -> None:
    assert python_finding(SpecifierSet(">=3.11,<3.12"), "3.11.9").verdict == "ok"
    assert python_finding(SpecifierSet(">=3.11,<3.12"), "3.12.1").verdict == "problem"


def test_a_torch_for_cpus_is_found_before_a_job_finds_it() -> None:
    (finding,) = build_findings(load_cluster("jean-zay"), "2.13.0+cpu")
    assert finding.verdict == "problem"
    assert list(build_findings(load_cluster("jean-zay"), "2.13.0+cu130")) == []
    assert list(build_findings(load_cluster("slurm-local"), "2.13.0+cpu")) == []
    assert list(build_findings(load_cluster("local"), "2.13.0+cpu")) == []


def test_checking_the_environment_imports_no_torch(tmp_path: Path) -> None:
    subjects = [finding.subject for finding in environment_findings(load_cluster("local"), tmp_path)]
    assert subjects[0] == "Python"
    assert "disk space" in subjects


def test_variables_kept_from_clients_are_named() -> None:
    (finding,) = variable_findings(["SLURM_CLUSTERS", "SQUEUE_STATES"])
    assert (finding.verdict, finding.site) == ("warning", "SLURM_CLUSTERS, SQUEUE_STATES")
    (finding,) = variable_findings([])
    assert finding.verdict == "ok"
