"""The one read model of what is going on: for the command line, the live view, the web page and JSON.

    Status: project -> sweep -> chain -> stage -> segment (a job) -> attempt

`detour.monitoring.monitor` makes it; it is immutable, and `to_json` gives all of it as plain values, in the form that
`detour.monitoring.schema` describes. Every figure that is not known is None; every time is in seconds since the epoch,
so that the age of any figure is its distance from `Status.now_s`. Named tuples, because they are made at import in a
third of the time of dataclasses, and `detour status` is to answer at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from detour.forecasting.made import Accuracy
from detour.ledger.state import StageStatus
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.seen import SeenJob
from detour.monitoring.states import WORDS, StateWord
from detour.text import stage_label

SCHEMA = 2
_UNDER_WAY = ("running", "submitted", "unknown")


class AttemptRow(NamedTuple):
    """One run of a stage; a requeued job makes several."""

    number: int
    state: StateWord
    """`running`, `done`, or how it ended."""
    node: str | None
    gpus: float | None
    started_s: float | None
    ended_s: float | None
    """None while it runs, and where its end was not recorded."""
    seen_s: float | None
    """Its last sign of life."""
    elapsed_s: float | None
    """By its own clock, to its end or last sign of life."""
    done: int | None
    total: int | None
    unit: str | None
    saved_tokens: int | None
    """Of its last checkpoint."""
    exit_code: int | None
    reason: str | None
    gpu_hours: float | None
    energy_kwh: float | None
    """Of the facility, by the stage's `energy_method`."""
    co2_g: float | None


class SegmentRow(NamedTuple):
    """One job of a stage, with its attempts."""

    job: str | None
    """None for attempts without a scheduler."""
    seen: SeenJob | None
    """What Slurm says of it; None where it was not asked, or does not know."""
    submitted_s: float | None
    eligible_s: float | None
    """When it was submitted and all before it was done. None: not yet, or unknown."""
    started_s: float | None
    starts_s: float | None
    """While it waits: when Slurm expects to start it."""
    dependency_wait_s: float | None
    """From its submission until it was eligible, so far: dependencies, holds."""
    queue_wait_s: float | None
    """From then until it started, so far: resources, priority, limits."""
    attempts: tuple[AttemptRow, ...]


class StageRow(NamedTuple):
    """One stage; shared by several chains, it is the same in each but for `next_step`."""

    id: str
    name: str
    """What people call it, whatever its seed: `evaluate icd10-chapter`."""
    seed: int | None
    kind: str
    status: StageStatus
    """In one of the ledger's eight words."""
    state: StateWord
    """The same in finer words, for people: see docs/watching.md."""
    reason: str | None
    """Why it waits, failed or stopped."""
    needs_person: bool
    """Nothing goes on without one."""
    next_step: str | None
    """What that person does."""
    inputs: tuple[str, ...]
    """Ids of the stages that it waits for."""
    blocked_by: str | None
    """Of a stage that cannot run: the id of the failed stage that it waits for, directly or not."""
    chains: tuple[str, ...]
    """All that need it."""
    done: int | None
    total: int | None
    unit: str | None
    """`done` of `total` tokens, documents or steps, as last reported."""
    progress_s: float | None
    """When that was reported."""
    seen_s: float | None
    """Last sign of life."""
    rate_per_s: float | None
    """Units a second: of this moment while it runs, of its last attempt when it ended."""
    mfu: float | None
    """Share of its GPUs' peak arithmetic, as last reported."""
    eta_s: float | None
    """What is left at that rate, while it runs."""
    expected_s: float | None
    """Its duration, as it was priced."""
    left_s: float | None
    """What is left to run, at its rate or its price."""
    starts_s: float | None
    """While it waits: when Slurm expects to start it."""
    figures: Mapping[str, float | None]
    """As last reported: loss, validation_loss, lr..."""
    attempts: int
    jobs: tuple[str, ...]
    segments: tuple[SegmentRow, ...]
    elapsed_s: float | None
    """Over all attempts."""
    gpu_hours: float | None
    by_journal: int
    """Attempts that have ended and whose hours are the journal's: sacct was not asked about them yet, or cannot say."""
    energy_kwh: float | None
    """Of the facility, by `energy_method`."""
    co2_g: float | None
    energy_method: str | None

    @property
    def label(self) -> str:
        return stage_label(self.name, self.seed)

    @property
    def fraction(self) -> float | None:
        if self.status == "done":
            return 1.0
        return min(self.done / self.total, 1.0) if self.done is not None and self.total else None

    @property
    def tokens_per_s(self) -> float | None:
        return self.rate_per_s if self.unit == "tokens" else None

    @property
    def loss(self) -> float | None:
        return self.figures.get("loss")

    @property
    def gravity(self) -> tuple[bool, int]:
        """The worse, the smaller."""
        return not self.needs_person, WORDS.index(self.state)


class ChainStatus(NamedTuple):
    name: str
    sweep: str | None
    project: str | None
    cluster: str | None
    user: str | None
    """Who planned or submitted it last."""
    stages: tuple[StageRow, ...]
    submitted_s: float | None
    """When it was first submitted."""
    active_s: float | None
    """When anything of it last gave a sign: a plan, a submission, an attempt."""
    ends_s: float | None
    """When it is expected to end; None where it has ended, or nothing is known."""
    unknown_durations: int
    """Stages that `ends_s` leaves out: it is then the earliest."""
    critical_path: tuple[str, ...]
    """Ids of the stages that its end waits for."""
    elapsed_s: float | None
    """Sum over attempts, which may have run side by side."""
    gpu_hours: float | None
    """Of its stages, shared ones in full."""
    by_journal: int
    """Attempts of its stages whose hours are the journal's."""
    energy: tuple[EnergyTotal, ...]
    """One a method, never to be added."""
    quoted: EnergyTotal | None
    """The one to quote; None when some site has no figure."""

    @property
    def counts(self) -> dict[str, int]:
        """By the ledger's words."""
        return dict(Counter(stage.status for stage in self.stages))

    @property
    def states(self) -> dict[str, int]:
        """By the finer words, worst first."""
        counted = Counter(stage.state for stage in self.stages)
        return {word: counted[word] for word in WORDS if word in counted}

    @property
    def worst(self) -> StageRow | None:
        """The stage that says how the chain is: the first of the gravest."""
        return min(self.stages, key=lambda row: row.gravity, default=None)

    @property
    def state(self) -> StateWord:
        """Of its worst stage; `done` when all are."""
        return "done" if self.is_done or self.worst is None else self.worst.state

    @property
    def needs_person(self) -> bool:
        return any(stage.needs_person for stage in self.stages)

    @property
    def is_done(self) -> bool:
        return all(stage.status == "done" for stage in self.stages)

    @property
    def is_over(self) -> bool:
        """Nothing of it runs, waits, or may do so unseen."""
        return not any(stage.status in _UNDER_WAY for stage in self.stages)


class GroupStatus(NamedTuple):
    """Chains of one sweep, or of one project: what they share is counted once."""

    name: str
    chains: tuple[str, ...]
    stages: int
    done: int
    gpu_hours: float | None
    energy_kwh: float | None
    co2_g: float | None


class Status(NamedTuple):
    workspace: str
    now_s: float
    chains: tuple[ChainStatus, ...]
    sweeps: tuple[GroupStatus, ...] = ()
    projects: tuple[GroupStatus, ...] = ()
    queue_s: float | None = None
    """When Slurm's queue was last read; None where it was not."""
    warnings: tuple[str, ...] = ()
    """What could not be read, in sentences."""
    forecasts: Accuracy | None = None
    """How good forecasts of starts have been; None before the first."""

    @property
    def is_still(self) -> bool:
        """Whether it stays so while nothing is written: nothing is under way, and Slurm was not asked."""
        rows = (row for chain in self.chains for row in chain.stages)
        return self.queue_s is None and not self.warnings and not any(row.status in _UNDER_WAY for row in rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values; derived figures of stages and chains included."""
        return {"schema": SCHEMA, **plain_values(self)}


DERIVED: dict[type, dict[str, Any]] = {
    StageRow: {"label": str, "fraction": float | None, "tokens_per_s": float | None, "loss": float | None},
    ChainStatus: {
        "state": StateWord,
        "needs_person": bool,
        "is_done": bool,
        "is_over": bool,
        "counts": Mapping[str, int],
        "states": Mapping[str, int],
    },
}
"""Properties that stand in JSON beside the fields, with their types."""


def plain_values(value: Any) -> Any:
    """Named tuples as objects, with what is derived from them; other tuples as lists."""
    if isinstance(value, tuple) and (fields := getattr(value, "_fields", ())):
        derived = {name: getattr(value, name) for name in DERIVED.get(type(value), ())}
        return {name: plain_values(part) for name, part in zip(fields, value, strict=True)} | derived
    if isinstance(value, tuple):
        return [plain_values(part) for part in value]
    return value
