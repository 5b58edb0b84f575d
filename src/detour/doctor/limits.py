"""Compares what a profile's jobs request with what the site offers: partitions, nodes, QOS and accounts.

Requesting more than there is is a problem, because such jobs are refused or wait forever. What the site did not answer
is unknown, and not the profile's fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from detour.config.cluster import Cluster, Partition, Qos, Use
from detour.config.quantities import write_duration
from detour.doctor.findings import Finding, Verdict, limit_finding, listed, longest, shorter
from detour.doctor.live_cluster import LiveCluster, LivePartition, NodeKind
from detour.text import nearest_name


def partition_findings(cluster: Cluster, live: LiveCluster) -> Iterator[Finding]:
    if live.partitions is None:
        yield Finding("partitions", "unknown", advice="no answer from the controller")
        return
    parts: list[tuple[str, Partition | None, Use]] = [
        ("gpu_partition", cluster.gpu_partition if cluster.gpu else None, "gpu"),
        ("cpu_partition", cluster.cpu_partition, "cpu"),
        ("network_partition", cluster.network_partition, "cpu"),
    ]
    for key, ours, use in parts:
        if ours is None or ours.name is None:
            continue
        subject, theirs = f"partition {ours.name}", live.partitions.get(ours.name)
        if theirs is None:
            advice = f"the site has {listed(live.partitions, ours.name)}"
            yield Finding(
                subject, "problem", ours.name, "no such partition", advice, _renamed(key, ours.name, use, live)
            )
            continue
        up = theirs.state == "UP"
        yield Finding(subject, "ok" if up else "warning", "used", theirs.state, "" if up else "jobs for it wait")
        serving = [] if key == "network_partition" else [qos for qos in cluster.qos if use in qos.use]
        yield _longest_run(f"{subject}, longest run", key, ours, theirs, serving, cluster.qos_required, live)
        yield from _time_by_default(f"{subject}, default time", key, ours, theirs)
        yield from _admission(subject, cluster, theirs, serving, use)


def _renamed(key: str, name: str, use: Use, live: LiveCluster) -> dict[str, Any]:
    """The partition with the most similar name that has GPUs, or has none, as the jobs need."""
    with_gpus = {kind.partition for kind in live.nodes or () if kind.gpus}
    fitting = [name for name in live.partitions or {} if (name in with_gpus) == (use == "gpu")]
    found = nearest_name(name, fitting)
    return {key: {"name": found}} if found else {}


def _longest_run(
    subject: str,
    key: str,
    ours: Partition,
    theirs: LivePartition,
    serving: Sequence[Qos],
    qos_required: bool,
    live: LiveCluster,
) -> Finding:
    """The longest job that the profile's QOS would send there, against the limits of the partition and its own QOS."""
    without_qos = [ours.wall] if not serving or not qos_required else []
    asked = longest([*(shorter(qos.wall, ours.wall) for qos in serving), *without_qos])
    own_qos = (live.qos or {}).get(theirs.own_qos or "")
    given = shorter(theirs.wall_s, own_qos.wall_s if own_qos else None)
    return limit_finding(subject, asked, given, write_duration, lambda wall: {key: {"wall": write_duration(wall)}})


def _time_by_default(subject: str, key: str, ours: Partition, theirs: LivePartition) -> Iterator[Finding]:
    there = theirs.default_wall_s
    if ours.default_wall is None or ours.default_wall == there:
        return
    actual, change = ("none", None) if there is None else (write_duration(there), write_duration(there))
    advice = "nothing depends on it: every job requests its time"
    yield Finding(
        subject, "warning", write_duration(ours.default_wall), actual, advice, {key: {"default_wall": change}}
    )


def _admission(
    subject: str, cluster: Cluster, theirs: LivePartition, serving: Iterable[Qos], use: Use
) -> Iterator[Finding]:
    default, account = cluster.default_qos(use), cluster.full_account(use)
    for qos in serving:
        if theirs.qos is not None and qos.name not in theirs.qos:
            verdict: Verdict = "problem" if qos == default else "warning"
            yield Finding(f"{subject}, QOS", verdict, qos.name, "not allowed there", f"it takes {listed(theirs.qos)}")
    if account and theirs.accounts is not None and account not in theirs.accounts:
        yield Finding(f"{subject}, account", "problem", account, "not allowed there", "ask the site for access")


def node_findings(cluster: Cluster, live: LiveCluster) -> Iterator[Finding]:
    """The nodes of the GPU partition; if the profile names none, all nodes with its constraint."""
    if cluster.gpu is None:
        return
    if live.nodes is None:
        yield Finding("nodes", "unknown", advice="no answer from the controller")
        return
    name, constraint = cluster.gpu_partition.name, cluster.gpu_partition.constraint
    there = [kind for kind in live.nodes if name is None or kind.partition == name]
    if not there:
        return
    if constraint is not None:
        fitting = [kind for kind in there if satisfies(constraint, kind.features)]
        features = listed({feature for kind in there for feature in kind.features}, constraint)
        advice = "" if fitting else "no node has it: jobs are refused"
        yield Finding("constraint", "ok" if fitting else "problem", constraint, features, advice)
        there = fitting or there
    there = [kind for kind in there if kind.gpus] or there
    yield from _gpus(cluster, there)
    cpus = max(kind.cpus for kind in there)
    yield limit_finding("cores per node", cluster.cores_per_node, cpus, str, lambda most: {"cores_per_node": most})


def _gpus(cluster: Cluster, there: Sequence[NodeKind]) -> Iterator[Finding]:
    gpu = cluster.gpu
    if gpu is None or gpu.selector == "none":
        return
    counts = sorted({kind.gpus for kind in there}, reverse=True)
    actual = " or ".join(map(str, counts))
    if gpu.per_node in counts:
        yield Finding("GPUs per node", "ok", str(gpu.per_node), actual)
    else:
        advice = "whole nodes are requested with this number"
        change = {"gpu": {"per_node": counts[0]}} if counts[0] else {}
        yield Finding("GPUs per node", "problem", str(gpu.per_node), actual, advice, change)
    types = sorted({kind.gpu_type for kind in there if kind.gpu_type})
    if types and not any(gpu.type.lower() in kind.lower() for kind in types):
        verdict: Verdict = "problem" if gpu.type_in_request else "warning"
        advice = "power and throughput in the profile are another GPU's"
        yield Finding("GPU type", verdict, gpu.type, ", ".join(types), advice, {"gpu": {"type": types[0]}})
    else:
        yield Finding("GPU type", "ok" if types else "unknown", gpu.type, ", ".join(types) or None)


def satisfies(constraint: str, features: frozenset[str]) -> bool:
    """Whether features satisfy `gpu&hbm80g` or `a100|h100`; counts and brackets, which number nodes, are ignored."""
    alternatives = re.sub(r"\*\d+|[\[\]()]", "", constraint).split("|")
    return any(set(re.split("[&,]", one)) <= features for one in alternatives)


def qos_findings(cluster: Cluster, live: LiveCluster) -> Iterator[Finding]:
    if live.accounting == "off" or not cluster.qos:
        return
    if live.qos is None:
        yield Finding("QOS", "unknown", advice="no answer from the accounting database")
        return
    for ours in cluster.qos:
        subject, theirs = f"QOS {ours.name}", live.qos.get(ours.name)
        if theirs is None:
            advice = f"the site has {listed(live.qos, ours.name)}"
            yield Finding(subject, "problem", ours.name, "no such QOS", advice, {"qos": {ours.name: None}})
            continue
        wall = shorter(ours.wall, longest(cluster.partition(use).wall for use in ours.use))
        yield limit_finding(
            f"{subject}, longest run", wall, theirs.wall_s, write_duration, _in_qos(ours, "wall", write_duration)
        )
        yield limit_finding(f"{subject}, GPUs at once", ours.gpus, theirs.gpus, str, _in_qos(ours, "gpus", int))
        yield limit_finding(
            f"{subject}, jobs submitted",
            ours.submitted_jobs,
            theirs.submitted_jobs,
            str,
            _in_qos(ours, "submitted_jobs", int),
            "more are refused; if the profile has the limit, they are sent in waves",
        )


def _in_qos(qos: Qos, key: str, write: Callable[[int], str | int]) -> Callable[[int], Mapping[str, Any]]:
    return lambda theirs: {"qos": {qos.name: {key: write(theirs)}}}


def account_findings(cluster: Cluster, live: LiveCluster) -> Iterator[Finding]:
    """Whether the accounts that jobs name are this user's, and may use their QOS."""
    if live.accounting == "off":
        return
    if live.accounts is None:
        yield Finding("accounts", "unknown", advice="no answer from the accounting database about yours")
        return
    uses: tuple[Use, ...] = ("gpu", "cpu") if cluster.gpu else ("cpu",)
    for use in uses:
        subject, account = f"account of {use.upper()} jobs", cluster.full_account(use)
        if account is None:
            yield Finding(subject, "ok", None, listed(live.accounts), "Slurm uses your default")
        elif account not in live.accounts:
            advice = f"yours are {listed(live.accounts, account)}"
            yield Finding(subject, "problem", account, "not yours", advice, _other_account(cluster, use, live.accounts))
        else:
            yield Finding(subject, "ok", account, "yours")
            yield from _account_qos(subject, cluster, use, account, live.accounts[account])
            yield from _account_partition(subject, cluster, use, account, live)


def _account_qos(subject: str, cluster: Cluster, use: Use, account: str, allowed: frozenset[str]) -> Iterator[Finding]:
    for qos in cluster.qos:
        if allowed and use in qos.use and qos.name not in allowed:
            verdict: Verdict = "problem" if qos == cluster.default_qos(use) else "warning"
            advice = f"it may use {listed(allowed, qos.name)}"
            yield Finding(f"{subject}, QOS", verdict, qos.name, f"not for {account}", advice)


def _account_partition(subject: str, cluster: Cluster, use: Use, account: str, live: LiveCluster) -> Iterator[Finding]:
    """Whether the account may use any QOS that the partition takes; otherwise jobs are refused with or without one."""
    partition, accounts = (live.partitions or {}).get(cluster.partition(use).name or ""), live.accounts or {}
    if partition is None or partition.qos is None:
        return
    taken, allowed = partition.qos, accounts[account]
    if not allowed or taken & allowed:
        return
    fitting = next((name for name, theirs in sorted(accounts.items()) if taken & theirs), None)
    advice = f"it takes {listed(taken)}, and {account} may use {listed(allowed)}"
    change = {f"{use}_partition": {"account": fitting}} if fitting else {}
    yield Finding(f"{subject}, partition", "problem", account, f"no QOS for {partition.name}", advice, change)


def _other_account(cluster: Cluster, use: Use, yours: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """The first of the user's accounts that may use the default QOS and, preferably, has the profile's suffix."""
    qos, suffix = cluster.default_qos(use), cluster.account_suffix if use == "gpu" else ""
    order = sorted(yours, key=lambda name: (not name.endswith(suffix), name))
    account = next((name for name in order if qos is None or qos.name in yours[name]), None)
    if account is None:
        return {}
    if cluster.partition(use).account is None and account.endswith(suffix):
        return {"account": account.removesuffix(suffix)}
    return {f"{use}_partition": {"account": account}}
