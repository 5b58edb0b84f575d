"""Chains, stages, attempts and costs of a report, as plain data.

Every stage appears once, under its id, and chains refer to stages by id. So work that several chains share counts once
in the total and can be shown as shared. Unknown is null. Times are seconds since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from types import MappingProxyType
from typing import NamedTuple

from detour.accounting.account import Counted, site_energies
from detour.accounting.energy import EnergyFigure, figure_by, preferred
from detour.accounting.fates import Fates, Known
from detour.accounting.result_cost import Spent
from detour.ledger.state import StageStatus


class Cost(NamedTuple):
    """Usage of some attempts. `unknown` counts the attempts without a recorded figure."""

    attempts: int
    allocated_s: float
    """Sum of the attempts' durations, concurrent or not."""
    cpu_hours: Known
    gpu_hours: Known
    billed_hours: Known
    """GPU-hours by each site's billing rule; 0 if nothing is charged."""
    fates_s: Fates
    fates_cpu_hours: Fates
    """Fates for attempts with known cores; they sum to `cpu_hours.value`."""
    fates_gpu_hours: Fates
    energy: list[EnergyFigure]
    """One figure per method and site."""

    @property
    def has_gpus(self) -> bool:
        """Whether its hours are GPU-hours; without GPUs they are CPU-hours."""
        return self.gpu_hours.value != 0

    @property
    def device(self) -> str:
        """`GPU` or `CPU`, of which its hours are."""
        return "GPU" if self.has_gpus else "CPU"

    def energy_by(self, method: str | None) -> EnergyFigure | None:
        """Return its energy by a method; None over several sites, of which each has its own."""
        return figure_by(method, self.energy)

    @property
    def quoted(self) -> EnergyFigure | None:
        """Its single figure to quote, if there is one."""
        return preferred(self.energy)

    def hours(self, on_gpus: bool) -> Known:
        return self.gpu_hours if on_gpus else self.cpu_hours

    def fates(self, on_gpus: bool) -> Fates:
        """Fates in GPU-hours or CPU-hours."""
        return self.fates_gpu_hours if on_gpus else self.fates_cpu_hours

    @property
    def useful_share(self) -> float | None:
        """Share of its hours that was useful: of the GPU-hours if it used a GPU."""
        fates = self.fates(self.has_gpus)
        return fates.useful / fates.allocated if fates.allocated else None


class AttemptRow(NamedTuple):
    number: int
    job: str | None
    node: str | None
    cluster: str | None
    started_s: float
    ended_s: float
    allocated_s: float
    """From start to end, without time suspended."""
    outcome: str
    """done, interrupted, failed, running, or `lost` if no end was recorded."""
    reason: str | None
    """If no end was recorded, the state of the job's run in Slurm, such as `NODE_FAIL`."""
    gpus: float | None
    cpus: int | None
    billed_hours: float | None
    fates_s: Fates
    open_ended: bool
    """Whether no end was recorded and it is not known to run, so it counts up to its last sign of life."""
    source: str = "journal"
    """Source of start and end: `journal`, `sacct` or `local executor`."""
    user: str | None = None
    """The account that it ran under; for a run without events, that of the job's other attempts."""


class Stage(NamedTuple):
    id: str
    kind: str
    name: str
    """Name without the seed."""
    label: str
    status: StageStatus
    reason: str | None
    chains: list[str]
    """Chains of this report that contain it; if several, it was run once for all of them."""
    attempts: list[AttemptRow]
    cost: Cost
    output_sha256: str | None
    """Digest over all files of the output, from its manifest."""
    is_cut: bool = False
    """Whether some of its usage lies outside the report's period."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over the training; `x` counts tokens, or another `unit`."""

    figure: str
    unit: str
    x: list[float]
    y: list[float]


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    stage: str
    objective: str | None
    tokens: int | None
    tokens_done: int | None
    """Tokens done, as last reported."""
    flops_per_token: float | None
    """Forward and backward FLOPs by the model's shape; None if that is unknown."""
    steps: int | None
    warmup_steps: int | None
    masking_rate: float | None
    schedule: str | None
    peak_lr: float | None
    frozen: str | None
    curves: dict[str, Curve]
    """Curves by figure: loss, lr, validation_loss, gradient_norm, tokens_per_s."""
    tokens_per_s: float | None
    """Median over the attempts' progress."""
    validation_loss: float | None
    """Loss of the promoted checkpoint on the whole validation split, in nats per predicted token."""
    parent_validation_loss: float | None
    """Loss of the phase's initial weights, under the same objective."""


class TaskScores(NamedTuple):
    """Test scores of one task; mean and deviation only if every planned seed has a score."""

    task: str
    metric: str | None
    by_seed: dict[str, float | None]
    mean: float | None
    standard_deviation: float | None
    """Sample standard deviation (n - 1); None for a single seed."""
    notes: tuple[str, ...] = ()
    """Notes on the task's data for readers of the scores."""
    attempts: Mapping[str, Sequence[Counted]] = MappingProxyType({})
    """Attempts at each seed's fine-tuning. Their cost is computed when shown, since a page shows few of many."""

    def spent_on(self, seed: str) -> Spent:
        return Spent.of(site_energies(self.attempts.get(seed, ())))

    @property
    def spent(self) -> dict[str, Spent]:
        """Cost by seed."""
        return {seed: self.spent_on(seed) for seed in self.attempts}

    @property
    def spent_in_all(self) -> Spent:
        return Spent.of(site_energies(chain.from_iterable(self.attempts.values())))

    @property
    def present(self) -> int:
        """Number of seeds with a score."""
        return sum(value is not None for value in self.by_seed.values())


SOURCE_COUNTS = {
    "read_documents": "rows read",
    "blank_documents": "blank",
    "excluded_documents": "excluded",
    "repeated_documents": "repeated",
    "left_out_documents": "of these left out",
    "train_documents": "to train on",
    "train_tokens": "tokens",
    "validation_documents": "to validate on",
    "validation_seen_documents": "of these in both",
}
"""Counts of a source in the corpus's index -> their labels."""


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """Counts of the rows of one source, by what became of them."""

    name: str
    counts: dict[str, int | None]
    """Counts by the names of SOURCE_COUNTS."""


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    status: StageStatus
    stages: list[str]
    phases: list[Phase]
    scores: list[TaskScores]
    cost: Cost
    """Cost of all its stages, including shared ones."""
    parameters: int | None
    corpus_tokens: int | None
    """Training tokens of the prepared corpus."""
    sources: list[SourceCounts]
    """Sources of the prepared corpus; empty until it is prepared."""
    started_s: float | None
    ended_s: float | None
    """Last end of an attempt; None while one is running."""
    model: str | None
    """Folder of the exported encoder."""
    model_sha256: str | None

    @property
    def mean_score(self) -> float | None:
        """Mean over all tasks, each a mean over seeds, as a share; None while a score is missing."""
        means = [task.mean for task in self.scores]
        known = [mean for mean in means if mean is not None]
        return fmean(known) if known and len(known) == len(means) else None


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions used by the stages; more than one entry means that versions were mixed."""

    code: list[str]
    python: list[str]
    packages: dict[str, list[str]]
    machines: list[str]


def is_cut(chain: Chain, stages: Mapping[str, Stage]) -> bool:
    """Whether some of the chain's usage lies outside the report's period."""
    return any(stages[stage].is_cut for stage in chain.stages)
