"""What a live Slurm reports: partitions, nodes, QOS, accounts and settings, read from its clients' text.

Asked once, by `detour doctor`. Anything without an answer stays None, with the reason in `unanswered`. A limit of None
means that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

from detour.errors import SchedulerUnavailable
from detour.sacct.values import parse_gres, parse_limit_s
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.records import parse_time_s
from detour.scheduler.snapshot import NO_ACCOUNTING

Accounting = Literal["on", "off", "forbidden"]
T = TypeVar("T")

_TRES_GPUS = re.compile(r"(?:^|,)gres/gpu(?::[^=,]+)?=(\d+)")
_FORBIDDEN = re.compile(r"denied|not permitted|not allowed|not authori[sz]ed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LivePartition:
    name: str
    state: str = "UP"
    wall_s: int | None = None
    default_wall_s: int | None = None
    qos: frozenset[str] | None = None
    """Those allowed; None for all."""
    accounts: frozenset[str] | None = None
    own_qos: str | None = None
    """The QOS whose limits apply to every job of the partition."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Nodes of one partition that are alike."""

    partition: str
    nodes: int
    cpus: int
    """Logical CPUs per node: hardware threads if the site counts them."""
    gpus: int
    gpu_type: str | None
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class LiveQos:
    name: str
    wall_s: int | None = None
    submitted_jobs: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class LiveCluster:
    version: str | None = None
    settings: Mapping[str, str] | None = None
    """`scontrol show config`."""
    partitions: Mapping[str, LivePartition] | None = None
    nodes: tuple[NodeKind, ...] | None = None
    qos: Mapping[str, LiveQos] | None = None
    accounts: Mapping[str, frozenset[str]] | None = None
    """The user's accounts, with the QOS that each may use."""
    accounting: Accounting | None = None
    clock_offset_s: float | None = None
    """Seconds by which the controller's clock is ahead of this machine's."""
    unanswered: tuple[str, ...] = ()
    """What did not answer, and why."""


def ask_cluster(slurm: Slurm, user: str, now_s: Callable[[], float]) -> LiveCluster:
    """At most seven questions, each asked once.

    If the controller is down, its clients take half a minute each, so it is not asked again.
    """
    unanswered: list[str] = []

    def heard(question: Callable[[], T]) -> T | None:
        try:
            return question()
        except SchedulerUnavailable as error:
            unanswered.append(str(error))
            return None

    version = heard(slurm.version)
    settings = heard(slurm.configuration)
    answered_s = now_s()
    partitions = heard(slurm.partitions) if settings else None
    nodes = heard(slurm.nodes) if settings else None
    accounting = _accounting(slurm, user, settings, unanswered)
    qos = heard(slurm.qualities) if accounting != "off" else None
    cluster = (settings or {}).get("ClusterName")
    accounts = heard(lambda: slurm.associations(user, cluster)) if qos and cluster else None
    controller_s = parse_time_s((settings or {}).get("AsOf", ""))
    return LiveCluster(
        version=version,
        settings=settings,
        partitions=None if partitions is None else read_partitions(partitions),
        nodes=None if nodes is None else read_nodes(nodes),
        qos=None if qos is None else read_qos(qos),
        accounts=None if accounts is None else read_accounts(accounts),
        accounting=accounting,
        clock_offset_s=None if controller_s is None else controller_s - int(answered_s),
        unanswered=tuple(unanswered),
    )


def _accounting(
    slurm: Slurm, user: str, settings: Mapping[str, str] | None, unanswered: list[str]
) -> Accounting | None:
    storage = (settings or {}).get("AccountingStorageType")
    if storage in ("accounting_storage/none", "(null)"):
        return "off"
    answer = slurm.accounting_service(user)
    found = read_accounting_answer(answer)
    if found is None:
        unanswered.append(f"`sacct` gave no usable answer: {answer.message}")
    return found


def read_accounting_answer(answer: CommandResult) -> Accounting | None:
    """Whether sacct serves this user; None if it failed in a way that may be temporary."""
    if answer.returncode == 0 and answer.stdout.strip():
        return "on"
    if NO_ACCOUNTING in answer.stderr:
        return "off"
    return "forbidden" if _FORBIDDEN.search(answer.stderr) else None


def read_partitions(text: str) -> dict[str, LivePartition]:
    """Partitions by name, from `scontrol --oneliner show partition`."""
    found = {}
    for line in text.splitlines():
        field = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if name := field.get("PartitionName"):
            found[name] = LivePartition(
                name,
                state=field.get("State", "UP"),
                wall_s=read_limit_s(field.get("MaxTime", "")),
                default_wall_s=read_limit_s(field.get("DefaultTime", "")),
                qos=_names(field.get("AllowQos", "ALL")),
                accounts=_names(field.get("AllowAccounts", "ALL")),
                own_qos=None if (own := field.get("QoS", "N/A")) == "N/A" else own,
            )
    return found


def read_nodes(text: str) -> tuple[NodeKind, ...]:
    found = []
    for line in text.splitlines():
        partition, nodes, cpus, gres, features = (*line.split("|"), "", "", "", "")[:5]
        if not (nodes.isdecimal() and cpus.rstrip("+").isdecimal()):
            continue
        listed = parse_gres(gres)
        found.append(
            NodeKind(
                partition,
                int(nodes),
                int(cpus.rstrip("+")),
                gpus=listed.gpus or 0,
                gpu_type=None if "," in (listed.gpu_type or "") else listed.gpu_type,
                features=frozenset(features.split(",")) - {"", "(null)"},
            )
        )
    return tuple(found)


def read_qos(text: str) -> dict[str, LiveQos]:
    """QOS by name, from `sacctmgr show qos`: name|MaxWall|MaxSubmitPU|MaxTRESPU."""
    found = {}
    for line in text.splitlines():
        name, wall, submitted, resources = (*line.split("|"), "", "", "")[:4]
        gpus = [int(count) for count in _TRES_GPUS.findall(resources)]
        jobs = int(submitted) if submitted.isdecimal() else None
        found[name] = LiveQos(name, read_limit_s(wall), jobs, min(gpus, default=None))
    return found


def read_accounts(text: str) -> dict[str, frozenset[str]]:
    """Accounts from `sacctmgr show assoc`: account|qos,qos. Rows of one account (one per partition) are merged."""
    found: dict[str, frozenset[str]] = {}
    for line in text.splitlines():
        account, _, qos = line.partition("|")
        if account:
            found[account] = found.get(account, frozenset()) | frozenset(qos.split(",")) - {""}
    return found


def read_limit_s(text: str) -> int | None:
    """`4-04:00:00` -> 360000; None for UNLIMITED, NONE and what is no limit."""
    with suppress(ValueError):
        seconds = parse_limit_s(text)
        return None if seconds is None else int(seconds)
    return None


def _names(text: str) -> frozenset[str] | None:
    return None if text in ("ALL", "(null)", "N/A", "") else frozenset(text.split(","))
