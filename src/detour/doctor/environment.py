"""This machine and this environment as jobs will find them: what is here, and what prevents jobs from running.

Gathering reads the machine; judging is pure. Compute nodes run the same interpreter from the same folder, so what is
wrong here is wrong there.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from detour.config.cluster import Cluster
from detour.doctor.findings import Finding, Verdict, listed
from detour.doctor.settings import CLOCK_TOLERANCE_S
from detour.environment import DECISIVE, installed
from detour.scheduler.client_environment import ignored
from detour.text import pasted

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"
COMPOSER = Requirement("mosaicml")
"""Installed without its own pins, so it is in none of our lists."""
SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "panfs", "wekafs", "cifs", "afs", "orangefs", "9p")
LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "ramfs", "devtmpfs")
LITTLE_BYTES, NO_BYTES = 20 * 10**9, 10**9
"""A chain of the base recipe stores some 10 GB; below a gigabyte not even a checkpoint fits."""
FEW_FILES = 10_000


@dataclass(frozen=True, slots=True)
class WorkspaceFolder:
    """A folder, or the nearest parent that exists."""

    path: Path
    exists: bool
    mode: int
    owned: bool
    """Whether this user owns it."""
    refusal: str | None
    """Why nothing can be written there."""
    free_bytes: int
    free_files: int | None
    clock_offset_s: float | None
    """Seconds by which the file system's clock is ahead of this machine's."""


def environment_findings(cluster: Cluster, workspace: Path) -> list[Finding]:
    python, requirements = declared()
    versions = {requirement.name: installed(requirement.name) for requirement in requirements}
    mounts = Path("/proc/self/mounts").read_text(errors="replace") if Path("/proc/self/mounts").exists() else ""
    return [
        python_finding(python, platform.python_version()),
        *package_findings(requirements, versions),
        *build_findings(cluster, versions.get("torch")),
        *(variable_findings(ignored(os.environ)) if cluster.scheduler == "slurm" else ()),
        *folder_findings(look_at(workspace)),
        *sharing_findings(cluster, workspace, Path(sys.prefix), mounts),
    ]


def declared() -> tuple[SpecifierSet, list[Requirement]]:
    """The Python and the packages that jobs need.

    From the checkout if there is one, since the metadata of an installed copy is as old as its installation.
    """
    if PYPROJECT.exists():
        project = tomllib.loads(PYPROJECT.read_text())["project"]
        texts = [*project["dependencies"], *project["optional-dependencies"]["train"]]
        return SpecifierSet(project["requires-python"]), [*map(Requirement, texts), COMPOSER]
    needed = [Requirement(text) for text in requires("detour") or ()]
    wanted = [need for need in needed if need.marker is None or need.marker.evaluate({"extra": "train"})]
    return SpecifierSet(metadata("detour")["Requires-Python"]), [*wanted, COMPOSER]


def python_finding(wanted: SpecifierSet, found: str) -> Finding:
    if wanted.contains(found):
        return Finding("Python", "ok", str(wanted), found)
    return Finding("Python", "problem", str(wanted), found, "create an environment with a matching Python")


def package_findings(requirements: Sequence[Requirement], versions: Mapping[str, str | None]) -> Iterator[Finding]:
    """One finding for each missing or wrong package, and one for all that fit."""
    fitting = 0
    for requirement in requirements:
        found, wanted = versions[requirement.name], str(requirement.specifier) or "any version"
        if found is None:
            yield Finding(f"package {requirement.name}", "problem", wanted, "not installed", "`make env` installs it")
        elif requirement.specifier.contains(found, prereleases=True):
            fitting += 1
        else:
            verdict: Verdict = "problem" if requirement.name in DECISIVE else "warning"
            yield Finding(f"package {requirement.name}", verdict, wanted, found, "`make env` corrects it")
    yield Finding("packages", "ok", f"{len(requirements)} required", f"{fitting} as required")


def build_findings(cluster: Cluster, torch: str | None) -> Iterator[Finding]:
    """A torch for CPUs on a cluster with GPUs; the version of the wheel shows its build."""
    if cluster.gpu is None or cluster.gpu.simulated or torch is None:
        return
    if torch.endswith("+cpu"):
        advice = "jobs on GPUs would be refused at their start: install a build for them"
        yield Finding("torch", "problem", f"a build for {cluster.gpu.type}", torch, advice)


def variable_findings(names: Sequence[str]) -> Iterator[Finding]:
    """Variables that would change what Slurm's clients do, and that `detour` removes from their environment."""
    if not names:
        yield Finding("Slurm's variables", "ok", "none set")
        return
    advice = "ignored: put what you need in the profile, such as account, partition, qos, header, slurm_cluster"
    yield Finding("Slurm's variables", "warning", "none set", listed(names), advice)


def look_at(path: Path) -> WorkspaceFolder:
    """The properties of a folder. A file is written to the nearest folder that exists, and removed."""
    there = _nearest(path)
    status, space = there.stat(), os.statvfs(there)
    refusal, offset_s = None, None
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".detour-doctor.") as file:
            offset_s = os.fstat(file.fileno()).st_mtime - time.time()
    except OSError as error:
        refusal = error.strerror
    return WorkspaceFolder(
        path,
        exists=there == path,
        mode=stat.S_IMODE(status.st_mode),
        owned=status.st_uid == os.geteuid(),
        refusal=refusal,
        free_bytes=shutil.disk_usage(there).free,
        free_files=space.f_favail if space.f_files else None,
        clock_offset_s=offset_s,
    )


def _nearest(path: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def filesystem(path: Path, mounts: str) -> str | None:
    """Type of the file system that holds `path`; `mounts` as in /proc/self/mounts, where later mounts hide earlier."""
    found, depth = None, -1
    for line in mounts.splitlines():
        _, point, kind = (*line.split(), "", "", "")[:3]
        mounted = Path(point.replace("\\040", " "))
        if point and path.resolve().is_relative_to(mounted) and len(mounted.parts) >= depth:
            found, depth = kind, len(mounted.parts)
    return found


def folder_findings(folder: WorkspaceFolder) -> Iterator[Finding]:
    if folder.refusal is not None:
        advice = "choose another with --workspace or DETOUR_WORKSPACE"
        yield Finding("workspace", "problem", str(folder.path), f"not writable: {folder.refusal}", advice)
        return
    yield Finding("workspace", "ok", str(folder.path), "writable" if folder.exists else "can be created")
    if folder.exists:
        yield _privacy(folder)
    yield _space(folder)
    if folder.free_files is not None and folder.free_files < FEW_FILES:
        advice = "a chain creates some hundred files: remove what is not needed"
        yield Finding("files", "warning", f"{FEW_FILES:,} or more", f"{folder.free_files:,} left", advice)
    if folder.clock_offset_s is not None and abs(folder.clock_offset_s) > CLOCK_TOLERANCE_S:
        advice = "the age of a file shows who holds a stage: report the clocks to the site"
        actual = f"{folder.clock_offset_s:+.0f} s from this machine's"
        yield Finding("clock of the files", "warning", f"within {CLOCK_TOLERANCE_S:g} s", actual, advice)


def _privacy(folder: WorkspaceFolder) -> Finding:
    actual = f"mode {folder.mode:04o}{'' if folder.owned else ', of another user'}"
    if folder.mode & stat.S_IWOTH:
        advice = f"any user may put results there: `{pasted('chmod', 'o-w', str(folder.path))}`"
        return Finding("privacy", "problem", "the user's or a group's", actual, advice)
    if folder.mode & stat.S_IROTH:
        advice = f"`{pasted('chmod', 'o-rx', str(folder.path))}` closes it"
        return Finding("privacy", "warning", "the user's or a group's", actual, advice)
    if folder.mode & stat.S_IWGRP and not folder.mode & stat.S_ISGID:
        advice = f"new files in it do not get its group: `{pasted('chmod', 'g+s', str(folder.path))}`"
        return Finding("privacy", "warning", "the user's or a group's", actual, advice)
    return Finding("privacy", "ok", "the user's or a group's", actual)


def _space(folder: WorkspaceFolder) -> Finding:
    """Free space of the file system. A quota may leave less, and is not known here."""
    free = f"{folder.free_bytes / 1e9:,.0f} GB free"
    verdict: Verdict = "ok"
    if folder.free_bytes < LITTLE_BYTES:
        verdict = "problem" if folder.free_bytes < NO_BYTES else "warning"
    advice = "" if verdict == "ok" else "checkpoints will not fit: remove what is not needed"
    return Finding("disk space", verdict, f"{LITTLE_BYTES // 10**9} GB or more", free, advice)


def sharing_findings(cluster: Cluster, workspace: Path, environment: Path, mounts: str) -> Iterator[Finding]:
    """Whether jobs see the workspace and Python: only on a file system that their nodes share."""
    if cluster.scheduler == "local" or (cluster.gpu and cluster.gpu.simulated):
        return
    for subject, path in (("workspace's file system", workspace), ("Python's file system", environment)):
        kind = filesystem(_nearest(path), mounts)
        if kind in SHARED:
            yield Finding(subject, "ok", "shared with the nodes", kind)
        elif kind in LOCAL:
            advice = f"{path} is a disk of this machine: jobs on other nodes do not find it"
            yield Finding(subject, "warning", "shared with the nodes", kind, advice)
        else:
            advice = f"whether the nodes have {path} too is unknown here"
            yield Finding(subject, "unknown", "shared with the nodes", kind, advice)
