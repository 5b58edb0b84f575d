"""What the ledger records: one class a kind of event, its payload, and how soon it must be on disk.

The fields of a class are the `data` of its records. A field with a default may be missing, in the constructor and on
disk; fields that are unknown here (a later version's) are ignored. Any other record is foreign, and so is one with a
time that no clock can have shown: `LedgerReader` counts and names it, and it is not folded.

To add a kind, add its class here and write it: `journal.append(GradientSkipped(step=7, in_a_row=1))`. Kinds that were
ever written stay readable: they grow by fields with a default only.
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


KINDS: dict[str, type[Event]] = {}
"""Every kind, by its name on disk."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event:
    """A frozen dataclass to type checkers and readers, made without one.

    The dataclasses of the standard library, for all kinds, would cost every `detour status` as much as the
    interpreter's own start.
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
        """The payload as it was given: a field that was left out stays out of the record too."""
        return dict(vars(self))


class Foreign(Event):
    """A record of another version: nothing is taken from it but its place in the journal."""

    reason: str
    """What makes it foreign, to be said of `events`."""


# Journals


class JournalOpened(Event, kind="journal.opened"):
    """The process behind a journal, as `detour.ledger.process.Process`."""

    host: str
    pid: int
    user: str
    boot: str | None = None
    start_ticks: int | None = None


class JournalClosed(Event, kind="journal.closed"):
    """Nothing follows from this writer."""


class JournalsCompacted(Event, kind="journal.compacted"):
    """In a segment: the damage that its sources had, which their deletion would hide."""

    bad_lines: int
    journals: list[str]
    """File names of the sources."""


# Attempts at stages; `stage`, `job` and `attempt` stand beside the payload


class AttemptStarted(Event, kind="attempt.started"):
    """What the attempt holds, as `detour.accounting.allocation.Allocation`."""

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
    """What the slices are of a board, together: 2 of 7 are 2/7."""
    held_since_s: Instant | None = None
    """Since when the job's allocation has been held for this attempt, in seconds since the epoch: from the job's start,
    or the end of the stage before it in the same job. None where Slurm does not tell its jobs.
    """


class AttemptHeartbeat(Event, kind="attempt.heartbeat", durability=Durability.DROPPABLE):
    """A sign of life, every 10 s or so."""


class AttemptEnded(Event, kind="attempt.ended", durability=Durability.END):
    outcome: str | None = None
    """done, already-done, interrupted, not-ready, failed, refused."""
    exit_code: int | None = None
    reason: str | None = None
    elapsed_s: Duration | None = None


class AttemptDiagnosed(Event, kind="attempt.diagnosed"):
    """Why an attempt failed or was killed, as `detour.diagnosis` judges it."""

    cause: str
    """An id of docs/why.md."""
    evidence: str
    """The line that shows it."""
    retry: str
    """yes, no, after-change, unknown."""
    advice: str | None = None
    nodes: list[str] | None = None
    """That the next submission should avoid."""


class ProgressMade(Event, kind="progress", durability=Durability.DROPPABLE):
    done: int
    total: int
    unit: str
    figures: dict[str, float | None]
    """Losses and rates, by name; None where a figure was not finite."""


class EnergyCounted(Event, kind="energy", durability=Durability.LAZY):
    """Cumulative figures of one node's tracker, so that the last one counts; see `detour.accounting.meter`."""

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
    """One GPU, or a slice of one, since the sampler began; only `counter_j` and `power_w` are as they were read."""

    counter_j: float | None
    """The board's own energy counter, which began when its driver was loaded."""
    power_w: float | None
    energy_j: float
    """Of the GPU or slice so far."""
    sampled_j: float
    """Part of `energy_j` that is power x time, for want of a counter."""
    seen_s: Duration
    """Time behind `energy_j`; less than `elapsed_s` where a counter was reset or the device was lost."""
    resets: int
    share: float
    """Of the board: below 1 for a slice (MIG)."""


class EnergyRead(Event, kind="energy.read", durability=Durability.LAZY):
    """The counters of one node, summed since its sampler began, so that the last one counts; see
    `detour.accounting.sampler`.
    """

    why: str
    """start, interval, checkpoint, signal or end."""
    node: str
    began_s: Instant
    """When the sampler began, in seconds since the epoch."""
    elapsed_s: Duration
    """Since then, by the monotonic clock."""
    gpus: dict[str, GpuCounted]
    """By UUID."""
    cpu_j: float | None = None
    ram_j: float | None = None
    host_s: Duration | None = None
    """Time behind `cpu_j` and `ram_j`."""
    host_share: float | None = None
    """Part of the node's CPU and RAM energy that is counted as this job's: its share of the cores."""
    reason: str | None = None
    """What could not be read."""
    version: str | None = None
    """Of the driver."""


class CheckpointSaved(Event, kind="checkpoint.saved"):
    step: int
    tokens: int
    save_s: Duration | None = None
    """How long training stood still for it."""


class AttentionChosen(Event, kind="attention.chosen", durability=Durability.LAZY):
    """Which attention an attempt trains with, and what was measured of the kernels at hand."""

    backend: str
    layer_ms: dict[str, float]
    refused: dict[str, str]


class CheckpointResumed(Event, kind="checkpoint.resumed"):
    step: int
    tokens: int


class CheckpointSkipped(Event, kind="checkpoint.skipped"):
    """A damaged one, in whose place an older one was resumed."""

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
    """A person accepts that a checkpoint does not pass; the stage stands beside the payload."""

    gate: str
    why: str
    user: str


class StageDone(Event, kind="stage.done", durability=Durability.END):
    result: Any = None
    """What the stage returned, as JSON."""


class StageFailed(Event, kind="stage.failed", durability=Durability.END):
    """For good: nothing runs it again before a retry."""

    reason: str | None = None


class StageSubmitted(Event, kind="submit.stage", durability=Durability.LAZY):
    """The stage is in this job: for readers, since submission goes by the job events."""


class StageCancelled(Event, kind="cancel.stage", durability=Durability.LAZY):
    """The job is no longer the stage's."""


# Jobs sent to Slurm; see `detour.scheduler.sent`


class JobEvent(Event):
    """Of the jobs with these tags."""

    tags: list[str]


class JobIntended(JobEvent, kind="submit.intent"):
    """Written before sbatch is called."""

    tasks: list[list[str]]
    """Stage ids, by array task."""
    dependency: str
    gate: str = ""
    """The file that lets the job start its work, where it is not held."""
    wall_s: int | None = None
    """Its time limit; None for a job that was found in the queue."""


class JobAccepted(JobEvent, kind="submit.accepted"):
    """The job is in the queue, held or before its gate."""

    job_id: str


class JobRelinked(JobEvent, kind="submit.relinked"):
    """It waits for other jobs now."""

    dependency: str


class JobsCommitted(JobEvent, kind="submit.committed"):
    """All of them are there: from here on they belong to Slurm, and are released."""


class JobsDropped(JobEvent, kind="submit.dropped"):
    """They never came to be, or were withdrawn, and are not wanted any more."""

    why: str | None = None


class JobsHeld(JobEvent, kind="submit.kept"):
    """By a person, until they are released."""

    at_s: Instant


class JobsReleased(JobEvent, kind="submit.let_go"):
    at_s: Instant


class JobAccounted(Event, kind="job.accounted", durability=Durability.LAZY):
    """One run of a job, which has ended, as its scheduler accounts it; `job` stands beside the payload.

    Recorded when it is read, because a site's accounts may be closed or purged later.
    """

    source: str
    """Who says so: `sacct`, or `local executor`."""
    submit_s: Instant | None = None
    start_s: Instant | None = None
    """None for a job that ended without ever having nodes. All times in seconds since the epoch."""
    elapsed_s: Duration | None = None
    """On its nodes: without time suspended."""
    state: str | None = None
    gpus: int | None = None
    """As Slurm counts them; None for slices (MIG) of unknown size."""
    boards: float | None = None
    """What they are of a board, together, where slices are among them."""
    cpus: int | None = None
    nodes: int | None = None
    cluster: str | None = None
    """As Slurm calls it."""
    job_id: int | None = None
    """Of an array task, its own."""
    billing: float | None = None
    """Slurm's billing TRES of the allocation."""
    energy_j: float | None = None
    """Slurm's ConsumedEnergyRaw."""
    profile: str | None = None
    """Name of the cluster profile that the job was sent with."""
    stages: list[str] = []  # noqa: RUF012
    """That it was sent to run."""
    end_s: Instant | None = None
    """Of a run that was suspended, which ended later than its start and its time on nodes say."""


# Chains; `chain` stands beside the payload where there is one


class ChainPlanned(Event, kind="chain.planned", durability=Durability.LAZY):
    cluster: str
    stages: list[str]


def is_band(parts: Sequence[float]) -> bool:
    """[low, expected, high]."""
    return len(parts) == 3


class PriceQuoted(TypedDict):
    """What was expected of stages of one price; its bands are [low, expected, high]."""

    kind: str
    gpus: int
    cores: int
    wall_s: Annotated[list[Duration], is_band] | None
    gpu_hours: Annotated[list[float], is_band] | None
    source: str
    stages: list[str]


class SpeedMeasured(Event, kind="speed.measured"):
    """How fast a training of one shape ran in a benchmark on this cluster; prices use it until a stage has ended."""

    cluster: str
    signature: str
    """`detour.pricing.price.work_signature`."""
    tokens_per_s: float
    """On one GPU."""
    device: str
    versions: dict[str, str]
    mfu: float | None = None


class ChainPriced(Event, kind="chain.priced"):
    name: str
    """Of the chains."""
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
    """Not some stages of it only; unknown of earlier versions' records."""


class ChainHeld(Event, kind="hold.chain"):
    jobs: list[str]


class ChainReleased(Event, kind="release.chain"):
    jobs: list[str]


# Models; see `detour.models.aliasing`


class ModelAliased(Event, kind="model.aliased"):
    """An alias of a model leads to another version of it."""

    model: str
    alias: str
    after: str
    """Id of the export."""
    user: str
    before: str | None = None
    why: str | None = None
    rolled_back: bool = False
    """Back to what it led to before, and no promotion."""


# Budgets; see `detour.budgets.reservations`


class ReservedStages(TypedDict):
    """Stages of equal amounts."""

    ids: list[str]
    amounts: dict[str, float | None]


class BudgetEvent(Event):
    submission: str


class BudgetReserved(BudgetEvent, kind="budget.reserved"):
    facts: dict[str, str | None]
    """What a budget's scope asks about: project, account, cluster, sweep, chain, user."""
    stages: list[ReservedStages]
    over: list[str]
    """Budgets whose hard cap it exceeds, knowingly."""
    why: str | None = None


class BudgetCommitted(BudgetEvent, kind="budget.committed"):
    """What was reserved is handed over: it holds without its submitter."""


class BudgetReleased(BudgetEvent, kind="budget.released"):
    stages: list[str] | None = None
    """None: all of the submission's."""
    why: str | None = None


# Forecasts; `stage` and `job` stand beside the payload. All times are seconds since the epoch


class ForecastEvent(Event):
    """Of a stage."""


class ForecastMade(ForecastEvent, kind="forecast.made", durability=Durability.LAZY):
    """When the job of a stage was expected to start, and the stage to end, as it was said."""

    method: str
    """history, or Slurm's estimate corrected by its past errors."""
    begun_s: Instant | None
    """When its wait began; None while it waits for other stages."""
    start_p50_s: Instant
    start_p90_s: Instant
    end_p50_s: Instant | None = None
    end_p90_s: Instant | None = None
    slurm_start_s: Instant | None = None
    """What Slurm expected at that time."""
    bursts: int | None = None
    """That it was made of."""
    made_s: float | None = None
    """Nothing that came later entered it; None: it was written down at once."""


class ForecastScored(ForecastEvent, kind="forecast.scored", durability=Durability.LAZY):
    """What became of a forecast."""

    of: str
    """start, later start (of a stage that waited for others) or end."""
    made_s: Instant
    p50_s: Instant
    p90_s: Instant
    actual_s: Instant
    pinball_s: Duration
    """Mean of the losses of p50 and p90."""
    method: str
    slurm_start_s: Instant | None = None
