"""Slurm's job states, and what each means for a chain: most of what looks bad is normal."""

from __future__ import annotations

from enum import StrEnum


class Standing(StrEnum):
    """The standing of a job, as a chain sees it."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    INTERRUPTED = "interrupted"
    """Ended by its time limit, preemption or a broken node: the next segment or a requeue resumes the work."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Slurm does not report it. Never to be treated as an end."""


class JobState(StrEnum):
    """Slurm's names from 20.02 on; UNKNOWN for no answer or an unrecognised name."""

    PENDING = "PENDING"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    RESIZING = "RESIZING"
    SIGNALING = "SIGNALING"
    STAGE_OUT = "STAGE_OUT"
    STOPPED = "STOPPED"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"
    EXPEDITING = "EXPEDITING"
    POWER_UP_NODE = "POWER_UP_NODE"
    UPDATE_DB = "UPDATE_DB"
    COMPLETED = "COMPLETED"
    TIMEOUT = "TIMEOUT"
    PREEMPTED = "PREEMPTED"
    NODE_FAIL = "NODE_FAIL"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    FAILED = "FAILED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    RECONFIG_FAIL = "RECONFIG_FAIL"
    CANCELLED = "CANCELLED"
    REVOKED = "REVOKED"
    UNKNOWN = "UNKNOWN"

    @property
    def standing(self) -> Standing:
        return _STANDING[self]

    @property
    def is_live(self) -> bool:
        """Whether it is in the queue, and so may run (again) without a new submission."""
        return self.standing in (Standing.WAITING, Standing.RUNNING)


SUSPENDED = frozenset({JobState.SUSPENDED, JobState.STOPPED})
"""States of a job whose processes are stopped on its node, for example in favour of one with a higher priority."""
_STANDING = {
    **dict.fromkeys(JobState, Standing.RUNNING),
    JobState.PENDING: Standing.WAITING,
    JobState.REQUEUED: Standing.WAITING,
    JobState.REQUEUE_FED: Standing.WAITING,
    JobState.REQUEUE_HOLD: Standing.WAITING,
    JobState.SPECIAL_EXIT: Standing.WAITING,
    JobState.RESV_DEL_HOLD: Standing.WAITING,
    JobState.COMPLETED: Standing.SUCCEEDED,
    JobState.TIMEOUT: Standing.INTERRUPTED,
    JobState.PREEMPTED: Standing.INTERRUPTED,
    JobState.NODE_FAIL: Standing.INTERRUPTED,
    JobState.BOOT_FAIL: Standing.INTERRUPTED,
    JobState.DEADLINE: Standing.CANCELLED,
    JobState.FAILED: Standing.FAILED,
    JobState.OUT_OF_MEMORY: Standing.FAILED,
    JobState.LAUNCH_FAILED: Standing.FAILED,
    JobState.RECONFIG_FAIL: Standing.FAILED,
    JobState.CANCELLED: Standing.CANCELLED,
    JobState.REVOKED: Standing.UNKNOWN,  # a federated sibling runs elsewhere
    JobState.UNKNOWN: Standing.UNKNOWN,
}


def parse_state(text: str) -> JobState:
    """Parse `CANCELLED by 1234`, `COMPLETING+`, `FAILED` and the like; an unrecognised name is UNKNOWN."""
    word = text.split()[0].rstrip("+*") if text.split() else ""
    return JobState.__members__.get(word, JobState.UNKNOWN)
