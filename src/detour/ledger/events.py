"""What the ledger records: one class per kind of event, with its payload and how soon it must be on disk.

The fields of a class are the `data` of its records. A field with a default may be missing, in the constructor and on
disk; unknown fields (a later version's) are ignored. Any other record is foreign, as is one with an impossible time:
`LedgerReader` counts and names it, and it is not folded.

To add a kind, add its class here and write it: `journal.append(GradientSkipped(step=7, in_a_row=1))`. Kinds that were
ever written stay readable, so new fields need a default.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, ClassVar, TypedDict, dataclass_transform

from detour.times import Duration, Instant


class Durability(Enum):
    SYNCED = "on disk before `append` returns"
    LAZY = "on disk within a minute, or with the next synced event: a later event or another source says the same"
    DROPPABLE = "lazy, and the first to be given up where the disk takes nothing"
    END = "synced, and the journal's reserve is kept for it"


HEARTBEAT_S = 10.0
"""Seconds between two signs of life of a running attempt."""
KINDS: dict[str, type[Event]] = {}
"""Every kind by its name on disk."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event:
    """A frozen dataclass to type checkers and readers, implemented without `dataclass`.

    Dataclasses for all kinds would cost every `detour status` as much as the start of the interpreter.
    """

    kind: ClassVar[str]
    durability: ClassVar[Durability]

    def __init_subclass__(cls, *, kind: str | None = None, durability: Durability = Durability.SYNCED) -> None:
        if kind is not None:
            cls.kind, cls.durability = kind, durability
            KINDS[kind] = cls

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def to_json(self) -> dict[str, Any]:
        """The payload as given: a field that was left out is not in the record either."""
        return dict(vars(self))


class Foreign(Event):
    """A record of another version, of which only its place in the journal is used."""

    reason: str
    """What makes it foreign, worded to follow a number of events."""


# Journals


class JournalOpened(Event, kind="journal.opened"):
    """The process that writes a journal, as `detour.ledger.process.Process`."""

    host: str
    pid: int
    user: str
    boot: str | None = None
    start_ticks: int | None = None


class JournalClosed(Event, kind="journal.closed"):
    """Nothing follows from this writer."""


class JournalsCompacted(Event, kind="journal.compacted"):
    """In a segment: the damage in its sources, which their deletion would hide."""

    bad_lines: int
    journals: list[str]
    """File names of the sources."""


# Attempts at stages; `stage`, `job` and `attempt` are next to the payload


class AttemptStarted(Event, kind="attempt.started"):
    """The attempt's allocation, as `detour.accounting.allocation.Allocation`."""

    node: str | None = None
    pid: int | None = None
    world_size: int | None = None
    gpus: int | None = None
    cpus: int | None = None
    ram_gb: float | None = None
    nodes: int | None = None
    cluster: str | None = None
    slices: int | None = None
    """GPUs that are slices (MIG) of a board; `gpus` is None then."""
    boards: float | None = None
    """The sum of the slices as a fraction of a board: 2 of 7 are 2/7."""
    held_since_s: Instant | None = None
    """Start of the time for which the job's allocation counts as this attempt's, in seconds since the epoch.

    That is the job's start or the end of the previous stage in the same job. None if Slurm does not tell its jobs.
    """


class AttemptHeartbeat(Event, kind="attempt.heartbeat", durability=Durability.DROPPABLE):
    """A sign of life, every `HEARTBEAT_S`."""


class AttemptEnded(Event, kind="attempt.ended", durability=Durability.END):
    outcome: str | None = None
    """done, already-done, interrupted, not-ready, failed or refused."""
    exit_code: int | None = None
    reason: str | None = None
    elapsed_s: Duration | None = None


class AttemptDiagnosed(Event, kind="attempt.diagnosed"):
    """Why an attempt failed or was killed, according to `detour.diagnosis`."""

    cause: str
    """An id in docs/why.md."""
    evidence: str
    """The line that shows it."""
    retry: str
    """yes, no, after-change or unknown."""
    advice: str | None = None
    nodes: list[str] | None = None
    """Nodes that the next submission should avoid."""


class ProgressMade(Event, kind="progress", durability=Durability.DROPPABLE):
    done: int
    total: int
    unit: str
    figures: dict[str, float | None]
    """Losses and rates by name; None for a figure that was not finite."""


class EnergyCounted(Event, kind="energy", durability=Durability.LAZY):
    """Cumulative figures of one node's tracker, of which the last count; see `detour.accounting.codecarbon_meter`."""

    energy_kwh: float | None = None
    cpu_kwh: float | None = None
    gpu_kwh: float | None = None
    ram_kwh: float | None = None
    duration_s: Duration | None = None
    method: str | None = None
    scope: str | None = None
    detail: str | None = None
    cpu_model: str | None = None
    gpus: list[int] | None = None
    gpu_model: str | None = None
    tool: str | None = None
    version: str | None = None
    reason: str | None = None
    """Why there is no figure, or no newer one."""


class GpuCounted(TypedDict):
    """One GPU, or a slice of one, since the sampler began; only `counter_j` and `power_w` are raw readings."""

    counter_j: float | None
    """The board's own energy counter, which started when its driver was loaded."""
    power_w: float | None
    energy_j: float
    """Energy of the GPU or slice so far."""
    sampled_j: float
    """Part of `energy_j` computed as power x time, because there was no counter."""
    seen_s: Duration
    """Time covered by `energy_j`; less than `elapsed_s` if a counter was reset or the device was lost."""
    resets: int
    share: float
    """Share of the board: below 1 for a slice (MIG)."""


class EnergyRead(Event, kind="energy.read", durability=Durability.LAZY):
    """The counters of one node, summed since its sampler began; the last event counts (`detour.accounting.sampler`)."""

    why: str
    """start, interval, checkpoint, signal or end."""
    node: str
    began_s: Instant
    """When the sampler began, in seconds since the epoch."""
    elapsed_s: Duration
    """Time since then by the monotonic clock."""
    gpus: dict[str, GpuCounted]
    """By UUID."""
    cpu_j: float | None = None
    ram_j: float | None = None
    host_s: Duration | None = None
    """Time covered by `cpu_j` and `ram_j`."""
    host_share: float | None = None
    """Share of the node's CPU and RAM energy counted as this job's: its share of the cores."""
    reason: str | None = None
    """What could not be read."""
    version: str | None = None
    """Version of the driver."""


class CheckpointSaved(Event, kind="checkpoint.saved"):
    step: int
    tokens: int
    save_s: Duration | None = None
    """How long training paused for it."""


class AttentionChosen(Event, kind="attention.chosen", durability=Durability.LAZY):
    """The attention an attempt trains with, and the measurements of the available kernels."""

    backend: str
    layer_ms: dict[str, float]
    refused: dict[str, str]


class CheckpointResumed(Event, kind="checkpoint.resumed"):
    step: int
    tokens: int


class CheckpointSkipped(Event, kind="checkpoint.skipped"):
    """A damaged checkpoint, in place of which an older one was resumed."""

    path: str
    step: int
    reason: str


class GradientSkipped(Event, kind="gradient.skipped"):
    """A step without a finite gradient, which changed nothing."""

    step: int
    in_a_row: int


class GateJudged(Event, kind="gate.judged"):
    """Whether a checkpoint passes one gate of its promotion."""

    gate: str
    passed: bool
    arithmetic: str
    """One sentence with the figures that decided."""
    short_by: float | None = None
    overridden: str | None = None
    """Why a person accepted it nevertheless."""


class GateOverridden(Event, kind="gate.overridden"):
    """A person accepts that a checkpoint does not pass; the stage is next to the payload."""

    gate: str
    why: str
    user: str


class StageDone(Event, kind="stage.done", durability=Durability.END):
    result: Any = None
    """What the stage returned, as JSON."""


class StageFailed(Event, kind="stage.failed", durability=Durability.END):
    """Failed permanently: only a retry runs it again."""

    reason: str | None = None


class StageSubmitted(Event, kind="submit.stage", durability=Durability.LAZY):
    """The stage is in this job. For readers: submission itself uses the job events."""

    slurm_cluster: str | None = None
    """As in `JobIntended`."""


class StageCancelled(Event, kind="cancel.stage", durability=Durability.LAZY):
    """The job is no longer the stage's."""


# Jobs sent to Slurm; see `detour.scheduler.sent_jobs`


class JobEvent(Event):
    """An event of the jobs with these tags."""

    tags: list[str]


class JobIntended(JobEvent, kind="submit.intent"):
    """Written before sbatch is called."""

    tasks: list[list[str]]
    """Stage ids, by array task."""
    dependency: str
    gate: str = ""
    """The file that lets the job start its work, if it is not held."""
    wall_s: int | None = None
    """The time limit in seconds; None for a job that was found in the queue."""
    slurm_cluster: str | None = None
    """The Slurm cluster it was sent to, as in a profile; empty for the login nodes' own.

    None if not recorded, as by earlier versions. Clusters of one site may use the same job id.
    """


class JobAccepted(JobEvent, kind="submit.accepted"):
    """The job is in the queue, held or waiting at its gate."""

    job_id: str


class JobRelinked(JobEvent, kind="submit.relinked"):
    """The job waits for other jobs now."""

    dependency: str


class JobsCommitted(JobEvent, kind="submit.committed"):
    """All these jobs are in the queue: from now on they belong to Slurm and are released."""


class JobsDropped(JobEvent, kind="submit.dropped"):
    """The jobs never arrived or were withdrawn, and are no longer wanted."""

    why: str | None = None


class JobsHeld(JobEvent, kind="submit.kept"):
    """A person holds the jobs until they are released."""

    at_s: Instant
    stages: list[str] | None = None
    """Stages whose jobs are to be held, also those that are sent later."""


class JobsReleased(JobEvent, kind="submit.let_go"):
    at_s: Instant
    stages: list[str] | None = None
    """Stages whose jobs are no longer to be held: released, or cancelled."""


class JobAccounted(Event, kind="job.accounted", durability=Durability.LAZY):
    """One run of a job, after its end, as the scheduler accounts it; `job` is next to the payload.

    Recorded when it is read, because a site's accounts may be closed or purged later.
    """

    source: str
    """The source: `sacct` or `local executor`."""
    submit_s: Instant | None = None
    start_s: Instant | None = None
    """None for a job that ended without ever having nodes. All times are seconds since the epoch."""
    elapsed_s: Duration | None = None
    """Time on its nodes, without time suspended."""
    state: str | None = None
    gpus: int | None = None
    """As Slurm counts them; None for slices (MIG) of unknown size."""
    boards: float | None = None
    """Their sum as a fraction of boards, if there are slices among them."""
    cpus: int | None = None
    nodes: int | None = None
    cluster: str | None = None
    """Slurm's name for the cluster."""
    job_id: int | None = None
    """For an array task, its own id."""
    billing: float | None = None
    """Slurm's billing TRES of the allocation."""
    energy_j: float | None = None
    """Slurm's ConsumedEnergyRaw."""
    profile: str | None = None
    """Name of the cluster profile with which the job was sent."""
    stages: list[str] = []  # noqa: RUF012
    """Stages the job was sent to run."""
    end_s: Instant | None = None
    """End of a suspended run, which is later than its start plus its time on nodes."""


# Chains; `chain` is next to the payload if there is one


class ChainPlanned(Event, kind="chain.planned", durability=Durability.LAZY):
    cluster: str
    stages: list[str]


def is_band(parts: Sequence[float]) -> bool:
    """[low, expected, high]."""
    return len(parts) == 3


class PriceQuoted(TypedDict):
    """The estimate for stages of one price; its bands are [low, expected, high]."""

    kind: str
    gpus: int
    cores: int
    wall_s: Annotated[list[Duration], is_band] | None
    gpu_hours: Annotated[list[float], is_band] | None
    source: str
    stages: list[str]


def is_speed(tokens_per_s: float) -> bool:
    """Whether times can be computed with it: other processes write to the ledger too."""
    return 1e-3 <= tokens_per_s <= 1e12


class SpeedMeasured(Event, kind="speed.measured"):
    """The speed of a training of one shape in a benchmark on this cluster; prices use it until a stage has ended."""

    cluster: str
    signature: str
    """`detour.pricing.price.work_signature`."""
    tokens_per_s: Annotated[float, is_speed]
    """Per GPU."""
    device: str
    versions: dict[str, str]
    mfu: float | None = None


class ChainPriced(Event, kind="chain.priced"):
    name: str
    """Name of the chains."""
    cluster: str
    prices: list[PriceQuoted]


class ChainSubmitted(Event, kind="chain.submitted", durability=Durability.LAZY):
    cluster: str


class ChainRetried(Event, kind="chain.retried"):
    cleared: dict[str, str]
    """Label of a stage -> why it had failed."""


class ChainCancelled(Event, kind="cancel.chain"):
    jobs: list[str]
    whole: bool = False
    """Whether the whole chain was cancelled and not only some of its stages; not recorded by earlier versions."""


class ChainHeld(Event, kind="hold.chain"):
    jobs: list[str]


class ChainReleased(Event, kind="release.chain"):
    jobs: list[str]


# Models; see `detour.models.aliasing`


class ModelAliased(Event, kind="model.aliased"):
    """An alias of a model now leads to another version of it."""

    model: str
    alias: str
    after: str
    """Id of the export stage."""
    user: str
    before: str | None = None
    why: str | None = None
    rolled_back: bool = False
    """Whether it leads back to an earlier version."""


# Budgets; see `detour.budgets.reservations`


class ReservedStages(TypedDict):
    """Stages with equal amounts."""

    ids: list[str]
    amounts: dict[str, float | None]


class BudgetEvent(Event):
    submission: str


class BudgetReserved(BudgetEvent, kind="budget.reserved"):
    facts: dict[str, str | None]
    """What the scope of a budget may refer to: project, account, cluster, sweep, chain, user."""
    stages: list[ReservedStages]
    over: list[str]
    """Budgets whose hard cap is knowingly exceeded."""
    why: str | None = None


class BudgetCommitted(BudgetEvent, kind="budget.committed"):
    """The reserved jobs are in Slurm: the reservation holds without its submitter."""


class BudgetReleased(BudgetEvent, kind="budget.released"):
    stages: list[str] | None = None
    """None for all stages of the submission."""
    why: str | None = None


# Forecasts; `stage` and `job` are next to the payload. All times are seconds since the epoch


class ForecastEvent(Event):
    """An event about the forecast of a stage."""

    slurm_cluster: str | None = None
    """As in `JobIntended`, of the job next to the payload."""


class ForecastMade(ForecastEvent, kind="forecast.made", durability=Durability.LAZY):
    """When a stage's job was expected to start and the stage to end."""

    method: str
    """history, or Slurm's estimate corrected by its past errors."""
    begun_s: Instant | None
    """When its wait began; None while it waits for other stages."""
    start_p50_s: Instant
    start_p90_s: Instant
    end_p50_s: Instant | None = None
    end_p90_s: Instant | None = None
    slurm_start_s: Instant | None = None
    """Slurm's estimate at that time."""
    bursts: int | None = None
    """Number of bursts it is based on."""
    made_s: float | None = None
    """Nothing after this time was used; None if the forecast was recorded when it was made."""


class ForecastScored(ForecastEvent, kind="forecast.scored", durability=Durability.LAZY):
    """The outcome of a forecast."""

    of: str
    """start, later start (of a stage that waited for others) or end."""
    made_s: Instant
    p50_s: Instant
    p90_s: Instant
    actual_s: Instant
    pinball_s: Duration
    """Mean of the pinball losses of p50 and p90."""
    method: str
    slurm_start_s: Instant | None = None
