"""Tables of results: scores, losses, the corpus, stages, attempts and provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from detour.accounting.fates import Fates
from detour.accounting.result_cost import Spent
from detour.grouping import grouped
from detour.rendering import words
from detour.rendering.tables import Column, Table, hours, number
from detour.reporting.curves import thinned
from detour.reporting.data import SOURCE_COUNTS, AttemptRow, Chain, Phase, SourceCounts, Stage, TaskScores
from detour.reporting.report import Report
from detour.text import format_count, format_duration

ROWS_ON_PAGE = 200
LOSSES = 8
"""Number of points of a phase's curve in its table."""


class Scored(NamedTuple):
    chain: str
    scores: TaskScores


@dataclass(frozen=True)
class OfSeed:
    chain: str
    scores: TaskScores
    seed: str

    @cached_property
    def spent(self) -> Spent:
        return self.scores.spent_on(self.seed)


class OfPhase(NamedTuple):
    chain: str
    phase: Phase


class OnGrid(NamedTuple):
    labels: list[str]
    chain: Chain
    hours: float | None


class Loss(NamedTuple):
    chain: str
    phase: str
    done: float
    loss: float


class OfSource(NamedTuple):
    corpus: str
    source: SourceCounts


class OfStage(NamedTuple):
    stage: Stage
    chains: str


class OfAttempt(NamedTuple):
    stage: Stage
    chains: str
    attempt: AttemptRow


class Fact(NamedTuple):
    of: str
    value: str


def scores(report: Report) -> list[Table]:
    """Return one table for each task with at least one score, with every seed."""
    by_task = grouped((one.task, Scored(chain.name, one)) for chain in report.chains for one in chain.scores)
    return [_scores(task, rows) for task, rows in by_task.items() if any(row.scores.present for row in rows)]


def _scores(task: str, rows: list[Scored]) -> Table:
    seeds = dict.fromkeys(seed for row in rows for seed in row.scores.by_seed)
    metric = words.metric(next((row.scores.metric for row in rows if row.scores.metric), None))
    columns = (
        Column("chain", "chain"),
        *(Column(f"seed_{seed}", f"seed {seed}", words.percent, get=_score_of(seed)) for seed in seeds),
        number("mean", "mean", words.percent, "scores.mean"),
        number("standard_deviation", "s.d.", words.percent, "scores.standard_deviation"),
        number("seeds", "seeds", words.whole, "scores.present"),
    )
    notes = dict.fromkeys(note for row in rows for note in row.scores.notes)
    return Table(f"scores-{task}", f"{task}: {metric} on the test set, %", columns, rows, ". ".join(notes))


def results(report: Report) -> Table:
    """Return every seed's score with its cost, for the tasks in which a chain has at least one score."""
    scored = [(chain.name, one) for chain in report.chains for one in chain.scores if one.present]
    rows = [OfSeed(chain, one, seed) for chain, one in scored for seed in one.by_seed]
    columns = (
        Column("chain", "chain"),
        Column("task", "task", path="scores.task"),
        Column("seed", "seed"),
        Column("score", "score, %", words.percent, get=lambda row: row.scores.by_seed[row.seed]),
        number("allocated_s", "allocated", words.seconds, "spent.allocated_s"),
        number("gpu_hours", "GPU-hours", words.figure, "spent.gpu_hours"),
        number("facility_energy_kwh", "energy with PUE", words.energy, "spent.facility_energy_kwh"),
        number("co2_g", "CO2eq", words.co2, "spent.co2_g"),
        Column("energy_method", "method", path="spent.energy_method"),
        number("energy_coverage", "covered", words.in_percent, "spent.energy_coverage", main=False),
    )
    note = "Of all attempts at a fine-tuning, failed and repeated ones too."
    return Table("results", "Cost of each score", columns, rows, note, shown=ROWS_ON_PAGE)


def grids(report: Report) -> list[Table]:
    """Return the chains with their coordinates, scores and costs."""
    grid = report.grid
    if grid is None:
        return []
    chains = {chain.name: chain for chain in report.chains}
    columns = (
        Column("chain", "chain", path="chain.name"),
        *(Column(axis.name.replace(" ", "_"), axis.name, get=_label_at(place)) for place, axis in enumerate(grid.axes)),
        Column("status", "status", path="chain.status"),
        number("score", "mean score", words.in_percent, "chain.mean_score"),
        number("hours", f"{report.device}-hours", words.figure),
    )
    rows = [
        OnGrid(point.labels, chain, chain.cost.hours(report.has_gpus).value)
        for point in grid.points
        for chain in (chains[point.chain],)
    ]
    return [Table("grid", "Every chain", columns, rows, shown=ROWS_ON_PAGE)]


def losses(report: Report) -> Table:
    """Return a few points of each curve, shared ones once."""
    drawn: dict[str, OfPhase] = {}
    for chain in report.chains:
        for phase in chain.phases:
            drawn.setdefault(phase.stage, OfPhase(chain.name, phase))
    rows = [
        Loss(one.chain, one.phase.name, done, loss)
        for one in drawn.values()
        if (curve := one.phase.curves.get("loss"))
        for done, loss in thinned(curve, LOSSES)
    ]
    columns = (
        Column("chain", "chain"),
        Column("phase", "phase"),
        number("tokens", "tokens", words.count_of, "done"),
        number("loss", "loss", words.loss),
    )
    note = (
        "Means over a stretch of the curve, in nats per predicted token; losses of different objectives do not compare."
    )
    return Table("losses", "Training loss", columns, rows, note, shown=ROWS_ON_PAGE)


def phases(report: Report) -> Table:
    rows = [OfPhase(chain.name, phase) for chain in report.chains for phase in chain.phases]
    columns = (
        Column("chain", "chain"),
        Column("phase", "phase", path="phase.name"),
        Column("objective", "objective", get=lambda row: words.objective(row.phase)),
        Column("frozen", "frozen", path="phase.frozen"),
        number("tokens", "tokens", format_count, "phase.tokens"),
        number("steps", "steps", words.whole, "phase.steps"),
        Column("schedule", "schedule", path="phase.schedule", is_main=False),
        number("warmup_steps", "warm-up steps", words.whole, "phase.warmup_steps", main=False),
        number("peak_lr", "peak lr", words.exact, "phase.peak_lr"),
        number("parent_validation_loss", "validation loss at its start", words.loss, "phase.parent_validation_loss"),
        number("validation_loss", "of the promoted", words.loss, "phase.validation_loss"),
        number("tokens_per_s", "tokens/s, median", words.count_of, "phase.tokens_per_s"),
    )
    return Table("phases", "Phases", columns, rows, shown=ROWS_ON_PAGE)


def sources(report: Report) -> Table:
    """Return each corpus once, under the chains trained on it."""
    by_corpus = grouped((repr(chain.sources), chain) for chain in report.chains if chain.sources)
    rows = [
        OfSource(_named([chain.name for chain in chains]), source)
        for chains in by_corpus.values()
        for source in chains[0].sources
    ]
    columns = (
        Column("corpus", "corpus of", is_main=len(by_corpus) > 1),
        Column("source", "source", path="source.name"),
        *(Column(key, label, words.whole, get=_count_of(key)) for key, label in SOURCE_COUNTS.items()),
    )
    note = (
        "Repeated are documents of which the tokenizer makes the tokens of an earlier one, in the same source or one "
        "before it; in both are validation documents that a source's training split has too."
    )
    return Table("sources", "", columns, rows, note)


def quality(report: Report) -> Table:
    columns = (
        Column("aspect", ""),
        number("known", "known", words.significant),
        number("total", "of", words.significant),
        number("share", "share", words.in_percent),
        Column("consequence", "what follows"),
    )
    return Table("data-quality", "", columns, report.quality)


def stages(report: Report) -> Table:
    """Return the stages; if not all can be shown, unfinished ones come first."""
    rows = [OfStage(stage, _named(stage.chains)) for stage in report.stages.values()]
    if len(rows) > ROWS_ON_PAGE:
        rows.sort(key=lambda row: row.stage.status == "done")
    columns = (
        Column("chains", "chain"),
        Column("stage", "stage", path="stage.label"),
        Column("status", "status", path="stage.status"),
        Column("reason", "why", get=lambda row: row.stage.reason if row.stage.status != "done" else None),
        number("attempts", "attempts", words.whole, "stage.cost.attempts"),
        number("allocated_s", "time", format_duration, "stage.cost.allocated_s"),
        hours("gpu_hours", "GPU-hours", "stage.cost.gpu_hours", main=report.has_gpus),
        hours("cpu_hours", "CPU-hours", "stage.cost.cpu_hours"),
        Column("id", "id", path="stage.id", is_main=False),
        Column("output_sha256", "SHA-256 of the output", path="stage.output_sha256", is_main=False),
    )
    return Table("stages", "Every stage", columns, rows, shown=ROWS_ON_PAGE)


def attempts(report: Report) -> Table:
    """Return the attempts, those that did not finish first."""
    rows = [
        OfAttempt(stage, _named(stage.chains), attempt)
        for stage in report.stages.values()
        for attempt in stage.attempts
    ]
    rows.sort(key=lambda row: (row.attempt.outcome == "done", row.attempt.started_s))
    columns = (
        Column("chains", "chain"),
        Column("stage", "stage", path="stage.label"),
        number("attempt", "attempt", words.whole, "attempt.number"),
        Column("job", "job", path="attempt.job"),
        Column("node", "node", path="attempt.node"),
        Column("cluster", "cluster", path="attempt.cluster", is_main=len({row.attempt.cluster for row in rows}) > 1),
        Column("user", "user", path="attempt.user", is_main=len({row.attempt.user for row in rows} - {None}) > 1),
        number("started_s", "start", partial(words.instant, time_zone=report.period.time_zone), "attempt.started_s"),
        number(
            "ended_s", "end", partial(words.instant, time_zone=report.period.time_zone), "attempt.ended_s", main=False
        ),
        number("allocated_s", "time", format_duration, "attempt.allocated_s"),
        number("gpus", "GPUs", words.exact, "attempt.gpus"),
        number("cpus", "cores", words.whole, "attempt.cpus", main=False),
        number("billed_hours", "billed GPU-hours", words.figure, "attempt.billed_hours", main=False),
        Column("outcome", "outcome", path="attempt.outcome"),
        Column("reason", "why", path="attempt.reason"),
        Column("source", "hours by", path="attempt.source"),
        Column("open_ended", "no end recorded", path="attempt.open_ended", is_main=False),
        *(number(f"{part}_s", part, format_duration, f"attempt.fates_s.{part}", main=False) for part in Fates._fields),
        Column("stage_id", "id", path="stage.id", is_main=False),
    )
    return Table("attempts", "Attempts", columns, rows, shown=ROWS_ON_PAGE)


def hardware(report: Report) -> Table:
    columns = (
        Column("cluster", "cluster"),
        Column("gpu", "GPU", get=lambda row: row.gpu and f"{row.gpu}{' (simulated)' if row.simulated else ''}"),
        number("gpu_memory_gb", "memory per GPU, GB", words.exact),
        number("most_gpus", "most GPUs of a job", words.exact),
        number("most_cpus", "most cores of a job", words.whole),
        Column("country", "country"),
    )
    return Table("hardware", "Machines", columns, report.hardware)


def provenance(report: Report) -> Table:
    versions = report.versions
    packages = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.packages.items())
    rows = [
        Fact("code", ", ".join(versions.code) or words.UNKNOWN),
        Fact("Python", ", ".join(versions.python) or words.UNKNOWN),
        Fact("packages", packages or words.UNKNOWN),
        Fact("seen by jobs", "; ".join(versions.machines) or words.UNKNOWN),
        Fact("workspace", report.workspace),
        Fact("report", f"detour {report.version}"),
        *(
            Fact(f"model of {chain.name}", f"{chain.model}, SHA-256 {chain.model_sha256 or words.UNKNOWN}")
            for chain in report.chains
            if chain.model
        ),
    ]
    return Table("provenance", "Versions", (Column("of", ""), Column("value", "")), rows, shown=ROWS_ON_PAGE)


def _score_of(seed: str) -> Callable[[Scored], float | None]:
    return lambda row: row.scores.by_seed.get(seed)


def _label_at(place: int) -> Callable[[OnGrid], str]:
    return lambda row: row.labels[place]


def _count_of(key: str) -> Callable[[OfSource], int | None]:
    return lambda row: row.source.counts.get(key)


def _named(chains: list[str]) -> str:
    return ", ".join(chains) if len(chains) <= 2 else f"{len(chains)} chains"
