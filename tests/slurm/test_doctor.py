"""`detour doctor` on the real Slurm: the tests' profile is right, and planted errors are found and cured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from detour.config.roots import config_roots
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version

Starter = Callable[[ClusterSettings], SlurmCluster]
SHIPPED = config_roots()[-1] / "clusters" / "slurm-local.yaml"


def doctor(
    cluster: SlurmCluster, profile: Path | str, folder: Path, *options: str, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """The command as a person calls it; `path` comes before the cluster's clients."""
    environment = os.environ | cluster.environment
    if path is not None:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    command = [Path(sys.executable).parent / "detour", "doctor", "--cluster", profile, "-w", folder, *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def examined(cluster: SlurmCluster, profile: Path | str, folder: Path, **options: Any) -> tuple[int, dict[str, Any]]:
    result = doctor(cluster, profile, folder, "--json", **options)
    assert not result.stderr
    return result.returncode, json.loads(result.stdout)


def bad(shown: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(one["subject"], one["verdict"]) for one in shown["findings"] if one["verdict"] != "ok"}


def write(path: Path, below: Path, changes: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"extends": str(below), **changes}))
    return path


def test_the_shipped_profile_of_the_test_cluster_is_right(slurm: SlurmCluster, tmp_path: Path) -> None:
    code, shown = examined(slurm, "slurm-local", tmp_path)
    assert code == 0
    assert bad(shown) == set()
    assert shown["change"] == {}
    assert shown["unanswered"] == []
    site = {one["subject"]: one["site"] for one in shown["findings"]}
    assert site["Slurm"].startswith(slurm.settings.version)
    assert site["GPUs per node"] == "4"
    assert site["QOS qos_gpu_h100-dev, GPUs at once"] == "32"
    assert site["QOS qos_gpu_h100-dev, jobs submitted"] == "10"
    assert site["account of CPU jobs"] == "yours"
    assert site["accounting"] == "sacct answers"


def test_planted_differences_are_found_and_the_correction_resolves_them(slurm: SlurmCluster, tmp_path: Path) -> None:
    planted = {
        "gpu_partition": {"name": "gpu_p13"},
        "network_partition": {"wall": "30h"},
        "account": "nobody",
        "max_array_size": 50_000,
        "cores_per_node": 128,
        "export_srun_cpus_per_task": False,
        "qos": {
            "qos_gpu_h100-dev": {"wall": "3h", "gpus": 64, "submitted_jobs": 100},
            "qos_gpu_h100-t5": {"wall": "100h", "use": ["gpu"]},
        },
    }
    own = write(tmp_path / "own.yaml", SHIPPED, planted)
    code, shown = examined(slurm, own, tmp_path)
    assert code == 2
    assert bad(shown) == {
        ("partition gpu_p13", "problem"),
        ("partition prepost, longest run", "problem"),
        ("account of GPU jobs", "problem"),
        ("MaxArraySize", "problem"),
        ("cores of a task", "warning"),
        ("QOS qos_gpu_h100-dev, longest run", "problem"),
        ("QOS qos_gpu_h100-dev, GPUs at once", "problem"),
        ("QOS qos_gpu_h100-dev, jobs submitted", "problem"),
        ("QOS qos_gpu_h100-t5", "problem"),
    }
    text = doctor(slurm, own, tmp_path)
    assert text.returncode == 2
    start = text.stdout.index("  extends: ")
    printed = yaml.safe_load(text.stdout[start : text.stdout.index("\n\n", start)])
    assert printed == {"extends": str(own), "name": "my-slurm-local", **shown["change"]}
    # with its nodes known by now, the last planted error shows: there are 96 cores, not 128
    once = write(tmp_path / "once.yaml", own, shown["change"])
    _, left = examined(slurm, once, tmp_path)
    assert bad(left) == {("cores per node", "problem")}
    twice = write(tmp_path / "twice.yaml", once, left["change"])
    assert examined(slurm, twice, tmp_path)[0] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_site_that_differs_from_its_profile_is_reported(own_slurm: Starter, version: Version, tmp_path: Path) -> None:
    """Without accounting, with fewer GPUs and a short memory; then with no daemon at all."""
    cluster = own_slurm(
        ClusterSettings(
            version,
            gpu_nodes=1,
            gpus_per_node=2,
            accounting=False,
            min_job_age_s=2,
            message_timeout_s=5,
            max_array_size=500,
            extra_configuration="DependencyParameters=kill_invalid_depend",
        )
    )
    code, shown = examined(cluster, "slurm-local", tmp_path)
    assert code == 2
    assert bad(shown) == {
        ("accounting", "warning"),
        ("GPUs per node", "problem"),
        ("MinJobAge", "warning"),
        ("MaxArraySize", "problem"),
    }
    assert shown["change"] == {"gpu": {"per_node": 2}, "max_array_size": 500}
    dependency = next(one for one in shown["findings"] if one["subject"] == "DependencyParameters")
    assert dependency["site"] == "kill_invalid_depend"
    cluster.stop_daemon("slurmctld")
    code, shown = examined(cluster, "slurm-local", tmp_path)
    assert code == 0
    told_by_the_clients_alone = {("accounting", "warning")}
    assert bad(shown) - told_by_the_clients_alone == {
        ("partitions", "unknown"),
        ("nodes", "unknown"),
        ("settings", "unknown"),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_that_is_down_or_closed_to_the_user_is_reported(
    own_slurm: Starter, version: Version, tmp_path: Path
) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1))
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sacct").write_text("#!/bin/sh\necho 'sacct: error: Access/permission denied' >&2\nexit 1\n")
    (programs / "sacct").chmod(0o755)
    code, shown = examined(cluster, "slurm-local", tmp_path, path=str(programs))
    assert (code, bad(shown)) == (0, {("accounting", "warning")})
    cluster.stop_daemon("slurmdbd")
    code, shown = examined(cluster, "slurm-local", tmp_path)
    assert code == 0
    assert bad(shown) == {("accounting", "unknown"), ("QOS", "unknown"), ("accounts", "unknown")}
