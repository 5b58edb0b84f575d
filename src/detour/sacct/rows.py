"""One row of Slurm's accounting, as typed values."""

from __future__ import annotations

from typing import NamedTuple


class JobRow(NamedTuple):
    """One attempt of one job allocation, as printed by `sacct --duplicates --allocations`.

    A requeued job has one row per attempt. Times are seconds since the epoch. None means that the dump lacks the column
    or sacct does not know the value. A tuple, because dumps have millions of rows and a frozen dataclass takes more
    than twice as long to create.
    """

    job_id: int | None = None
    """JobIDRaw, an array task's own. Ids are reused: an attempt is identified by cluster, job id and `submit_s`."""
    shown_id: str = ""
    """JobID: `17`, `17_3`, `17_[4-6%2]`, `17+1`."""
    array_job_id: int | None = None
    array_task: int | None = None
    tasks: int = 1
    """Number of jobs that the row represents: more than one for the pending tasks of an array, `17_[4-6%2]`."""
    name: str | None = None
    user: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    cluster: str | None = None
    state: str | None = None
    """Slurm's word only, in upper case: `CANCELLED` for `CANCELLED by 1001`. Unknown words are kept."""
    cancelled_by: str | None = None
    """Id or name of the user who cancelled it, as printed by sacct."""
    submit_s: float | None = None
    eligible_s: float | None = None
    start_s: float | None = None
    """None for a job that never got nodes, for which sacct prints the time of its cancellation."""
    end_s: float | None = None
    """None while it runs or is pending."""
    elapsed_s: float | None = None
    """Time on its nodes, excluding time suspended; for a running job, until the dump was made."""
    limit_s: float | None = None
    """Time limit; None also if there is none, or it is the partition's."""
    exit_code: int | None = None
    signal: int | None = None
    """Signal that ended the job; None also if none did."""
    node_list: str | None = None
    n_nodes: int | None = None
    n_cpus: int | None = None
    """Allocated CPUs as counted by Slurm: hardware threads on many sites."""
    n_gpus: int | None = None
    """Allocated GPUs on all nodes. 0 if the allocation is listed without any, unless GPUs were requested."""
    gpu_type: str | None = None
    """Types, separated by commas; `none` without GPUs, None if the type is unknown."""
    billing: float | None = None
    """Billing TRES of the allocation: charge per hour by the site's weights."""
    allocated_tres: str | None = None
    requested_tres: str | None = None
    comment: str | None = None
    reason: str | None = None
    """Reason for which it was last pending."""
    consumed_energy_j: float | None = None
    """Energy of its nodes, valid only for exclusive allocations. None for sacct's 0, which means not measured."""
    restarts: int | None = None

    @property
    def ran(self) -> bool:
        """Whether it ever held nodes."""
        return self.start_s is not None

    @property
    def unfinished(self) -> bool:
        """Whether it is pending or running, or its end was never recorded."""
        return self.end_s is None

    @property
    def wait_s(self) -> float | None:
        """Time from submission to start, including holds and dependencies."""
        return _between(self.submit_s, self.start_s)


def _between(first_s: float | None, last_s: float | None) -> float | None:
    """Return the time between two instants, at least 0: a restarted controller may record a start before submission."""
    return None if first_s is None or last_s is None else max(0, last_s - first_s)
