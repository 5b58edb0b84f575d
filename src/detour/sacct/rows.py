"""One row of Slurm's accounting, as typed values."""

from __future__ import annotations

from typing import NamedTuple


class JobRow(NamedTuple):
    """One attempt of one job allocation, as sacct prints it with `--duplicates --allocations`.

    A requeued job has a row an attempt. Times are seconds since the epoch. None: the dump has no such column, or sacct
    does not know. A tuple, since a frozen dataclass takes more than twice as long to make, and dumps
    have millions of rows.
    """

    job_id: int | None = None
    """JobIDRaw: an array task's own. Ids are recycled: an attempt is known by cluster, this and `submit_s`."""
    shown_id: str = ""
    """JobID: `17`, `17_3`, `17_[4-6%2]`, `17+1`."""
    array_job_id: int | None = None
    array_task: int | None = None
    tasks: int = 1
    """Jobs that the row stands for: more than one for the waiting rest of an array, `17_[4-6%2]`."""
    name: str | None = None
    user: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    cluster: str | None = None
    state: str | None = None
    """Slurm's word alone, upper-case: `CANCELLED` for `CANCELLED by 1001`. Words that are not Slurm's are kept."""
    cancelled_by: str | None = None
    """A user's id, or name where sacct prints that."""
    submit_s: float | None = None
    eligible_s: float | None = None
    start_s: float | None = None
    """None for a job that never got nodes, although sacct then prints the time of its cancellation."""
    end_s: float | None = None
    """None while it runs or waits."""
    elapsed_s: float | None = None
    """On its nodes, without time that it was suspended; of a running job, until the dump was made."""
    limit_s: float | None = None
    """None also where there is no limit, or the partition's."""
    exit_code: int | None = None
    signal: int | None = None
    """That ended the job; None also if none did."""
    derived_exit_code: int | None = None
    """The highest of its steps."""
    node_list: str | None = None
    n_nodes: int | None = None
    n_cpus: int | None = None
    """Allocated, as Slurm counts them: hardware threads on many sites."""
    n_gpus: int | None = None
    """Allocated on all nodes. 0 where the allocation is listed and has none, unless GPUs were requested."""
    gpu_type: str | None = None
    billing: float | None = None
    """The allocation's billing TRES: what the site's weights make of an hour."""
    allocated_tres: str | None = None
    requested_tres: str | None = None
    comment: str | None = None
    reason: str | None = None
    """Why it last waited."""
    consumed_energy_j: float | None = None
    """Of its nodes, real only where the allocation is exclusive. sacct's 0 means that nothing was measured."""
    restarts: int | None = None

    @property
    def ran(self) -> bool:
        """Whether it ever held nodes."""
        return self.start_s is not None

    @property
    def unfinished(self) -> bool:
        """It still waits or runs, or its end was never recorded."""
        return self.end_s is None

    @property
    def wait_s(self) -> float | None:
        """From submission to start, holds and dependencies included."""
        return _between(self.submit_s, self.start_s)

    @property
    def eligible_wait_s(self) -> float | None:
        """From the moment that nothing but the queue kept it from starting."""
        return _between(self.eligible_s, self.start_s)


def _between(first_s: float | None, last_s: float | None) -> float | None:
    """Not negative: a restarted controller may print a start before the submission."""
    return None if first_s is None or last_s is None else max(0, last_s - first_s)
