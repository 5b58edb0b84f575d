"""Names of columns, in sacct and in public data sets of job records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

Text = TypeVar("Text")
Value = TypeVar("Value")


class Cells(NamedTuple, Generic[Text]):
    """The text of a row, or of several rows as columns, by our field names; empty if the dump lacks a column."""

    job: Text
    raw_id: Text
    array_job: Text
    array_task: Text
    name: Text
    user: Text
    account: Text
    partition: Text
    qos: Text
    cluster: Text
    state: Text
    submit: Text
    eligible: Text
    start: Text
    end: Text
    elapsed_raw: Text
    elapsed: Text
    suspended: Text
    limit_minutes: Text
    limit: Text
    exit: Text
    nodes: Text
    n_nodes: Text
    n_cpus: Text
    cpu_time_raw: Text
    cpu_time: Text
    n_gpus: Text
    n_gpus_requested: Text
    allocated: Text
    requested: Text
    allocated_gres: Text
    requested_gres: Text
    comment: Text
    reason: Text
    energy_raw: Text
    energy: Text
    restarts: Text


_NAMES = {
    "job": "JobID, id_job, jobnumber, job, id",
    "raw_id": "JobIDRaw",
    "array_job": "ArrayJobID, id_array_job",
    "array_task": "ArrayTaskID, id_array_task, job_array_index",
    "name": "JobName, name",
    "user": "User, username, userhash, user_id, id_user, UID, uidnumber, owner",
    "account": "Account, accountname, project, Acct, account_id, projectid",
    "partition": "Partition, partition_name, queue_name, vc, queue",
    "qos": "QOS, qos_name, qualityofservice",
    "cluster": "Cluster, cluster_name, system, resource_name",
    "state": "State, job_state, exit_state, final_state, job_status, status",
    "submit": "Submit, submit_time, time_submit, submission_time, submit_ts, qsub_time, submitted, submission, qtime",
    "eligible": "Eligible, eligible_time, time_eligible, eligible_ts",
    "start": "Start, start_time, time_start, begin, begin_time, start_ts, started",
    "end": "End, end_time, time_end, end_ts, finish_time, completion_time, ended, finished",
    "elapsed_raw": "ElapsedRaw, run_time, elapsed_seconds, elapsed_s, wall_time, duration",
    "elapsed": "Elapsed, used_time, elapsed_time",
    "suspended": "Suspended, time_suspended",
    "limit_minutes": "TimelimitRaw, time_limit_minutes, time_limit",
    "limit": "reqtime, wallclock_req, requested_time",
    "exit": "ExitCode, exit",
    "nodes": "NodeList, nodes_list, nodelist_used, hostlist, nodes_names",
    "n_nodes": "AllocNodes, NNodes, num_nodes_alloc, nodes_alloc, nodes_used, node_count, node_num, nodes, num_nodes",
    "n_cpus": """NCPUS, AllocCPUS, num_cores_alloc, cpus_alloc, processors_used, cpu_count, cpu_num, cpus, num_cpus,
        ncores, num_cores, cores, cpu_cores, slots""",
    "cpu_time_raw": "CPUTimeRAW",
    "cpu_time": "CPUTime",
    "n_gpus": "NGPUS, AllocGPUs, num_gpus_alloc, gpus_alloc, gpus_used, gpu_count, gpu_num, gpus, num_gpus",
    "n_gpus_requested": "ReqGPUs, num_gpus_req, gpus_req, gpus_requested",
    "allocated": "AllocTRES, tres_alloc",
    "requested": "ReqTRES, tres_req",
    "allocated_gres": "AllocGRES, gres_alloc, gres_used",
    "requested_gres": "ReqGRES, gres_req",
    "comment": "Comment",
    "reason": "Reason, state_reason",
    "energy_raw": "ConsumedEnergyRaw",
    "energy": "ConsumedEnergy",
    "restarts": "Restarts, restart_cnt",
}
"""Our field -> its columns, the best first if a dump has several; spelled with or without `_`, in any case."""
_OTHERWISE_BESIDE = {"queue": "gputime"}
"""Columns that mean something else next to another one: AcmeTrace's `queue` is the time that a job waited."""
_FREE_TEXT = """jobname name comment admincomment systemcomment submitline workdir wckey constraints reason extra
    container reservation stdin stdout stderr"""
FREE_TEXT = frozenset(_FREE_TEXT.split())
"""Columns that may contain anything, including the delimiter and line ends, as spelled by `plain_name`."""
FIELDS = Cells._fields
NEEDED = "JobID, Start, and End or Elapsed"
_XDMOD = """JobID JobIDRaw Cluster Partition QOS Account Group GID User UID Submit Eligible Start End Elapsed ExitCode
    State NNodes NCPUS ReqCPUS ReqMem ReqTRES AllocTRES Timelimit NodeList JobName"""
LAYOUTS: Mapping[str, Sequence[str]] = {
    "Open XDMoD's oldest": _XDMOD.replace("QOS ", "").replace("ReqTRES AllocTRES", "ReqGRES ReqTRES").split(),
    "Open XDMoD's": _XDMOD.split(),
    "Open XDMoD's older": _XDMOD.replace("QOS ", "").split(),
}
"""Columns of known dumps without a header: those that Open XDMoD requests, as centres store and publish them."""


def plain_name(column: str) -> str:
    """Normalise a column name: `Job_ID`, `job id` and `JobID` are the same."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


_FIELD_OF = {
    plain_name(column): (field, rank)
    for field, columns in _NAMES.items()
    for rank, column in enumerate(columns.split(","))
}


def find_columns(header: Sequence[str], chosen: Mapping[str, str]) -> dict[str, int]:
    """Return our field -> its index in `header`; `chosen` maps fields to columns given by the user.

    Raises KeyError with a column in `chosen` that the header lacks.
    """
    named = [plain_name(column) for column in header]
    best: dict[str, tuple[int, int]] = {}
    for index, name in enumerate(named):
        known = None if _OTHERWISE_BESIDE.get(name) in named else _FIELD_OF.get(name)
        if known and (known[0] not in best or known[1] < best[known[0]][0]):
            best[known[0]] = (known[1], index)
    found = {field: index for field, (_, index) in best.items()}
    for field, column in chosen.items():
        if plain_name(column) not in named:
            raise KeyError(column)
        found[field] = named.index(plain_name(column))
    return found


def free_columns(header: Sequence[str]) -> list[int]:
    """Return the indices of the columns of free text."""
    return [index for index, column in enumerate(header) if plain_name(column) in FREE_TEXT]


def is_header(cells: Sequence[str]) -> bool:
    """Whether these are column names: at least three known ones, or at least the times of a job."""
    known = {_FIELD_OF[name][0] for name in map(plain_name, cells) if name in _FIELD_OF}
    return len(known) >= 3 or ("start" in known and bool(known & {"end", "elapsed", "elapsed_raw"}))


def each(parse: Callable[[str], Value], column: Sequence[str]) -> list[Value]:
    """Parse every cell; of an empty column, as of one that the dump lacks, only one cell is parsed."""
    return list(map(parse, column)) if any(column) else [parse("")] * len(column)


def either(first: Sequence[str], second: Sequence[str]) -> Sequence[str]:
    """Merge two columns of the same meaning: each cell of the first, or of the second if that is empty."""
    return first if all(first) else [one or other for one, other in zip(first, second, strict=True)]
