"""Compares a cluster profile with the live site, as far as the site's answers allow. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from detour.config.cluster import Cluster
from detour.doctor.findings import Finding, limit_finding
from detour.doctor.limits import account_findings, node_findings, partition_findings, qos_findings
from detour.doctor.live_cluster import LiveCluster

OLDEST = (20, 2)
"""The oldest Slurm whose text output can be read."""
SRUN_FORGETS = (22, 5)
"""From this version on, srun does not inherit --cpus-per-task from sbatch."""
SHORT_MEMORY_S = 60
CLOCK_TOLERANCE_S = 5.0


def compare(cluster: Cluster, live: LiveCluster) -> list[Finding]:
    return [
        *version_findings(cluster, live),
        *partition_findings(cluster, live),
        *node_findings(cluster, live),
        *qos_findings(cluster, live),
        *account_findings(cluster, live),
        accounting_finding(live),
        *setting_findings(cluster, live),
    ]


def version_findings(cluster: Cluster, live: LiveCluster) -> Iterator[Finding]:
    if live.version is None:
        yield Finding("Slurm", "unknown", advice="no answer about its version")
        return
    numbers = tuple(int(number) for number in re.findall(r"\d+", live.version)[:2])
    old = numbers < OLDEST
    advice = "answers of older versions are not understood" if old else ""
    yield Finding("Slurm", "problem" if old else "ok", "20.02 or later", live.version, advice)
    if numbers >= SRUN_FORGETS and not cluster.export_srun_cpus_per_task and (cluster.cores_per_gpu or 0) > 1:
        advice = "since 22.05 srun may give a task only one core if SRUN_CPUS_PER_TASK is not set"
        change = {"export_srun_cpus_per_task": True}
        yield Finding("cores of a task", "warning", "export_srun_cpus_per_task: false", live.version, advice, change)


def accounting_finding(live: LiveCluster) -> Finding:
    if live.accounting is None:
        return Finding("accounting", "unknown", advice="sacct did not answer")
    if live.accounting == "on":
        return Finding("accounting", "ok", None, "sacct answers")
    advice = "only markers and journals show how jobs ended; how others ended is unknown"
    if live.accounting == "forbidden":
        return Finding("accounting", "warning", None, "you may not use sacct", advice)
    return Finding("accounting", "warning", None, "off", f"{advice}; Slurm ignores accounts and QOS")


def setting_findings(cluster: Cluster, live: LiveCluster) -> Iterator[Finding]:
    settings = live.settings
    if settings is None:
        yield Finding("settings", "unknown", advice="no answer from the controller")
        return
    if (size := _number(settings.get("MaxArraySize"))) is not None:
        advice = "larger arrays are refused; if the profile has the limit, they are split"
        yield limit_finding(
            "MaxArraySize", cluster.max_array_size, size, str, lambda most: {"max_array_size": max(1, most)}, advice
        )
    asks = "--kill-on-invalid-dep=yes with every job"
    yield Finding("DependencyParameters", "ok", asks, settings.get("DependencyParameters"))
    if (requeue := _number(settings.get("JobRequeue"))) is not None:
        wish = f"--{'' if cluster.requeue else 'no-'}requeue with every job"
        unlike = cluster.requeue and not requeue
        advice = "the site does not requeue jobs by itself: ask whether jobs may request it" if unlike else ""
        yield Finding("JobRequeue", "warning" if unlike else "ok", wish, str(requeue), advice)
    if (age_s := _number(settings.get("MinJobAge"))) is not None:
        least_s = max(SHORT_MEMORY_S, 2 * cluster.poll_seconds)
        short = 0 < age_s < least_s
        advice = "ended jobs are forgotten so soon that only markers show how they ended" if short else ""
        yield Finding("MinJobAge", "warning" if short else "ok", f"{least_s} s or more", f"{age_s} s", advice)
    if "jobs" in (settings.get("PrivateData") or "").split(","):
        advice = (
            "jobs of others are hidden: users of one workspace cannot join each other's, and submit the same work again"
        )
        yield Finding("PrivateData", "warning", "jobs are shown", settings["PrivateData"], advice)
    if live.clock_offset_s is not None:
        off = abs(live.clock_offset_s) > CLOCK_TOLERANCE_S
        actual = f"{live.clock_offset_s:+.0f} s from this machine's"
        advice = "times in our journals and in Slurm disagree: report it to the site" if off else ""
        yield Finding("clock", "warning" if off else "ok", f"within {CLOCK_TOLERANCE_S:g} s", actual, advice)


def _number(text: str | None) -> int | None:
    """`300 sec` -> 300."""
    match = re.match(r"\d+", text or "")
    return int(match[0]) if match else None
