"""The read model of what is going on, for the command line, the live view, the web page and JSON.

    Status: project -> sweep -> chain -> stage -> segment (a job) -> attempt

`detour.monitoring.monitor` builds it. It is immutable, and `to_json` gives all of it as plain values, in the form
described by `detour.monitoring.schema`. Every unknown figure is None; every time is in seconds since the epoch, so a
figure's age is its distance from `Status.now_s`. These are named tuples because their classes are created at import in
a third of the time of dataclasses, and `detour status` must answer at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from detour.accounting.attempts import DEAD_AFTER_S
from detour.forecasting.records import Accuracy
from detour.ledger.state import StageStatus
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.queries import SeenJob
from detour.monitoring.states import WORDS, StateWord
from detour.text import stage_label

SCHEMA = 3
_UNDER_WAY = ("running", "submitted", "unknown")


class AttemptRow(NamedTuple):
    """One run of a stage; a requeued job has several."""

    number: int
    state: StateWord
    """`running`, `done`, or how it ended."""
    node: str | None
    gpus: float | None
    started_s: float | None
    ended_s: float | None
    """None while it runs, or if its end was not recorded."""
    seen_s: float | None
    """Time of its last sign of life."""
    allocated_s: float | None
    """Time for which its allocation counts, as in `detour report`."""
    done: int | None
    total: int | None
    unit: str | None
    saved_tokens: int | None
    """Tokens at its last checkpoint."""
    exit_code: int | None
    reason: str | None
    gpu_hours: float | None
    facility_energy_kwh: float | None
    """Of the facility, by the stage's `energy_method`."""
    co2_g: float | None


class SegmentRow(NamedTuple):
    """One job of a stage, or one process of `detour run`, with its attempts."""

    job: str | None
    """None for attempts without Slurm."""
    process: str | None
    """The process that `detour run` started; None in Slurm, and for attempts started by hand."""
    seen: SeenJob | None
    """What Slurm reports about it; None if it was not asked or does not know."""
    submitted_s: float | None
    eligible_s: float | None
    """When it was submitted and everything before it was done; None if not yet so or unknown."""
    started_s: float | None
    starts_s: float | None
    """For a pending job, when Slurm expects to start it."""
    dependency_wait_s: float | None
    """From its submission until it was eligible, or until now: dependencies, holds."""
    queue_wait_s: float | None
    """From when it was eligible until it started, or until now: resources, priority, limits."""
    attempts: tuple[AttemptRow, ...]


class StageRow(NamedTuple):
    """One stage; for several chains that share it, only `next_step` differs."""

    id: str
    name: str
    """Its name for people, without its seed: `evaluate icd10-chapter`."""
    seed: int | None
    kind: str
    status: StageStatus
    """One of the ledger's eight words."""
    state: StateWord
    """`status` in finer words, for people: see docs/watching.md."""
    reason: str | None
    """Why it is pending, failed or stopped."""
    reason_job: str | None
    """The job that the reason is about; None if it is about the stage."""
    needs_person: bool
    """Whether a person is needed to continue."""
    next_step: str | None
    """What a person does to continue it."""
    inputs: tuple[str, ...]
    """Ids of the stages that it waits for."""
    blocked_by: str | None
    """The id of the failed stage that it waits for, directly or not, if it cannot run."""
    chains: tuple[str, ...]
    """All chains that need it."""
    done: int | None
    total: int | None
    unit: str | None
    """`done` of `total` tokens, documents or steps, as last reported."""
    progress_s: float | None
    """When `done` was reported."""
    seen_s: float | None
    """Time of the last sign of life."""
    rate_per_s: float | None
    """Units per second: current while it runs, otherwise of its last attempt."""
    mfu: float | None
    """Share of the peak arithmetic of its GPUs, as last reported."""
    eta_s: float | None
    """Time left at `rate_per_s`, while it runs."""
    expected_s: float | None
    """Its duration as priced."""
    left_s: float | None
    """Time left to run, at its rate or by its price."""
    starts_s: float | None
    """For a pending stage, when Slurm expects to start it."""
    figures: Mapping[str, float | None]
    """Figures as last reported: loss, validation_loss, lr..."""
    attempts: int
    jobs: tuple[str, ...]
    segments: tuple[SegmentRow, ...]
    elapsed_s: float | None
    """Over all attempts, by their own clocks: of concurrent ones each in full, and without time before the first or
    after the last sign of work."""
    gpu_hours: float | None
    unknown_gpus: int
    """Attempts whose GPUs are unknown, so that `gpu_hours` leaves them out."""
    by_journal: int
    """Attempts that have ended and whose hours are the journal's: not asked of sacct yet, or unknown to it."""
    facility_energy_kwh: float | None
    """Of the facility, by `energy_method`."""
    co2_g: float | None
    energy_method: str | None
    energy_site: str | None
    """The site whose constants are in these figures; None also if it ran at several."""

    @property
    def label(self) -> str:
        return stage_label(self.name, self.seed)

    @property
    def why(self) -> str | None:
        """The reason with its job: `job 7: waits for free nodes`."""
        return self.reason if self.reason_job is None else f"job {self.reason_job}: {self.reason}"

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
        """Sorts worse stages first."""
        return not self.needs_person, WORDS.index(self.state)


class ChainStatus(NamedTuple):
    name: str
    sweep: str | None
    project: str | None
    cluster: str | None
    user: str | None
    """The user who last planned or submitted it."""
    stages: tuple[StageRow, ...]
    submitted_s: float | None
    """When it was first submitted."""
    active_s: float | None
    """Time of its last sign of activity: a plan, a submission, an attempt."""
    ends_s: float | None
    """When it is expected to end; None if it has ended, or nothing is known."""
    unknown_durations: int
    """Number of stages that `ends_s` leaves out, which makes it a lower bound."""
    critical_path: tuple[str, ...]
    """Ids of the stages that its end waits for."""
    elapsed_s: float | None
    """Sum over attempts, which may have run side by side."""
    gpu_hours: float | None
    """Sum over its stages, shared ones in full."""
    unknown_gpus: int
    """Number of attempts of its stages that `gpu_hours` leaves out."""
    by_journal: int
    """Number of attempts of its stages whose hours are the journal's."""
    energy: tuple[EnergyTotal, ...]
    """One per method; the methods must not be added up."""
    quoted: EnergyTotal | None
    """The figure to quote; None if there is none, and over several sites, whose figures are never added."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of stages by the ledger's words."""
        return dict(Counter(stage.status for stage in self.stages))

    @property
    def states(self) -> dict[str, int]:
        """Number of stages by the finer words, worst first."""
        counted = Counter(stage.state for stage in self.stages)
        return {word: counted[word] for word in WORDS if word in counted}

    @property
    def worst(self) -> StageRow | None:
        """The stage that represents the chain: the first of the worst."""
        return min(self.stages, key=lambda row: row.gravity, default=None)

    @property
    def state(self) -> StateWord:
        """The state of its worst stage; `done` if all are."""
        return "done" if self.is_done or self.worst is None else self.worst.state

    @property
    def needs_person(self) -> bool:
        return any(stage.needs_person for stage in self.stages)

    @property
    def now(self) -> str | None:
        """Where it is: the stage that represents it, with its reason or progress; None if all is done."""
        row = self.worst
        if row is None or self.is_done:
            return None
        if row.reason:
            return f"{row.label}: {row.reason}"
        return row.label if row.fraction is None else f"{row.label} {row.fraction:.0%}"

    @property
    def is_done(self) -> bool:
        return all(stage.status == "done" for stage in self.stages)

    @property
    def is_over(self) -> bool:
        """Whether none of its stages is running or pending, or may be."""
        return not any(stage.status in _UNDER_WAY for stage in self.stages)


def worst_first(chains: Sequence[ChainStatus]) -> list[ChainStatus]:
    """Sorted by their worst stage; of equals, the most recent first."""
    return sorted(
        chains,
        key=lambda chain: (
            chain.is_done,
            not chain.needs_person,
            WORDS.index(chain.state),
            -(chain.active_s or 0.0),
            chain.name,
        ),
    )


class GroupStatus(NamedTuple):
    """The chains of one sweep or project; stages that they share are counted once."""

    name: str
    chains: tuple[str, ...]
    stages: int
    done: int
    gpu_hours: float | None
    unknown_gpus: int
    """Number of attempts that `gpu_hours` leaves out."""
    facility_energy_kwh: float | None
    """None also if its stages have figures of different methods or sites, which are never added."""
    co2_g: float | None


class Status(NamedTuple):
    workspace: str
    now_s: float
    chains: tuple[ChainStatus, ...]
    sweeps: tuple[GroupStatus, ...] = ()
    projects: tuple[GroupStatus, ...] = ()
    queue_s: float | None = None
    """When Slurm's queue was last read; None if it was not."""
    warnings: tuple[str, ...] = ()
    """What could not be read, as sentences."""
    forecasts: Accuracy | None = None
    """How good forecasts of starts have been; None before the first."""

    @property
    def is_still(self) -> bool:
        """Whether it cannot change while nothing is written: nothing is under way, and Slurm was not asked.

        An attempt without an end may still count as running until it has been silent for `DEAD_AFTER_S`.
        """
        rows = [row for chain in self.chains for row in chain.stages]
        is_silent = all(row.seen_s is None or self.now_s - row.seen_s >= DEAD_AFTER_S for row in rows)
        is_over = not any(row.status in _UNDER_WAY for row in rows)
        return is_over and is_silent and self.queue_s is None and not self.warnings

    def to_json(self) -> dict[str, Any]:
        """Plain values, including derived figures of stages and chains."""
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
"""Properties that are in JSON next to the fields, with their types."""


def plain_values(value: Any) -> Any:
    """Named tuples as objects with their derived values; other tuples as lists."""
    if isinstance(value, tuple) and (fields := getattr(value, "_fields", ())):
        derived = {name: getattr(value, name) for name in DERIVED.get(type(value), ())}
        return {name: plain_values(part) for name, part in zip(fields, value, strict=True)} | derived
    if isinstance(value, tuple):
        return [plain_values(part) for part in value]
    return value
