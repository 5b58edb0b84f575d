"""Compares a cluster profile with the live cluster and this environment; changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from detour.config.cluster import Cluster
from detour.doctor.environment import environment_findings
from detour.doctor.findings import Finding
from detour.doctor.live_cluster import LiveCluster, ask_cluster
from detour.doctor.settings import compare
from detour.ledger.process import user_name
from detour.ledger.workspace import Workspace
from detour.scheduler.commands import Slurm


@dataclass(frozen=True, slots=True)
class Checked:
    cluster: Cluster
    profile: Path
    live: LiveCluster
    findings: tuple[Finding, ...]

    @property
    def has_problem(self) -> bool:
        """Whether something must be changed before jobs can run."""
        return any(finding.verdict == "problem" for finding in self.findings)


def check(cluster: Cluster, profile: Path, workspace: Workspace) -> Checked:
    """At most seven questions to Slurm; a missing answer is a finding, not an error."""
    live, findings = LiveCluster(), list[Finding]()
    if cluster.scheduler == "slurm":
        live = ask_cluster(Slurm(cluster=cluster.slurm_cluster), user_name(), time.time)
        findings = compare(cluster, live)
    findings += environment_findings(cluster, workspace.root)
    return Checked(cluster, profile, live, tuple(findings))
