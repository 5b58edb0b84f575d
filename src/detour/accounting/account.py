"""Energy and CO2 of chains by method, along with GPU-hours, hardware, idle energy and tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.energy import Band, EnergyFigure, Method, preferred, total
from detour.accounting.fates import Known
from detour.accounting.hours import AttemptUsage, gpu_hours
from detour.accounting.imported import EnergyFile
from detour.accounting.overheads import Embodied, Idle, embodied, idle, tokens_per_kwh
from detour.accounting.traces import Spans, spans_in
from detour.ledger.state import AttemptState, StageState, State
from detour.planning.files import ChainOutline, StageOutline
from detour.site import Site
from detour.sums import complete_sum

Counted = tuple[AttemptUsage, Sequence[EnergyFigure]]
"""An attempt with its figures, one per method, in the order of `Method`."""


@dataclass(frozen=True, slots=True)
class SiteEnergy:
    """Energy of some attempts at one site; figures of different sites or methods are never added."""

    site: str
    gpu_hours: Known
    figures: tuple[EnergyFigure, ...]
    """One figure per method, in the order of `Method`."""
    quoted: EnergyFigure | None
    """The figure to quote: M1 if it covers 90 % of the time, then Slurm's, then the estimate, then codecarbon's."""

    @property
    def embodied(self) -> Embodied:
        return embodied(self.figures[0].site, self.gpu_hours.value)

    @property
    def idle(self) -> Idle | None:
        return idle(self.quoted) if self.quoted else None


@dataclass(frozen=True, slots=True)
class StageEnergy:
    outline: StageOutline
    sites: tuple[SiteEnergy, ...]


@dataclass(frozen=True, slots=True)
class ChainEnergy:
    chain: str
    stages: tuple[StageEnergy, ...]
    """Stages that had an attempt."""
    sites: tuple[SiteEnergy, ...]
    tokens: int | None
    """Tokens that its trainings have consumed so far; None before the first."""
    jobs: Mapping[str, tuple[Counted, ...]]
    """Attempts by job id: as displayed and, for an array task, also Slurm's own id."""

    @property
    def tokens_per_kwh(self) -> Band | None:
        """Tokens per kWh of the whole chain, including evaluation; None over several sites."""
        quoted = self.sites[0].quoted if len(self.sites) == 1 else None
        return tokens_per_kwh(self.tokens, quoted) if quoted else None


@dataclass(frozen=True, slots=True)
class JobsInFile:
    """Jobs of a chain in a site's file and in our accounting; the two are never added or mixed."""

    jobs: int
    energy_kwh: float | None
    """Energy in the file, including any PUE it contains; None if that of a job is unknown."""
    sites: tuple[SiteEnergy, ...]


def chain_energies(
    state: State, chains: Iterable[ChainOutline], site_of: Callable[[str | None], Site], now_s: float
) -> list[ChainEnergy]:
    """Return the energy of each chain; `site_of` maps the name of an attempt's cluster profile to its constants."""
    spans = spans_in(state)
    return [_chain_energy(state, chain, site_of, now_s, spans) for chain in chains]


def _chain_energy(
    state: State, chain: ChainOutline, site_of: Callable[[str | None], Site], now_s: float, spans: Spans
) -> ChainEnergy:
    counted: dict[str, list[Counted]] = {}
    by_job: dict[str, list[Counted]] = {}
    for stage in chain.stages:
        known = state.stages.get(stage.id)
        for attempt in known.runs if known else []:
            usage = usage_of(stage.id, attempt, now_s)
            if usage is not None:
                site = site_of(attempt.cluster)
                one = (usage, figures_of(attempt, usage, site, spans))
                counted.setdefault(stage.id, []).append(one)
                for job in _names(attempt):
                    by_job.setdefault(job, []).append(one)
    return ChainEnergy(
        chain=chain.chain,
        stages=tuple(
            StageEnergy(stage, site_energies(counted[stage.id])) for stage in chain.stages if stage.id in counted
        ),
        sites=site_energies(one for attempts in counted.values() for one in attempts),
        tokens=_tokens(state.stages, [stage.id for stage in chain.stages if stage.kind == "pretrain"]),
        jobs={job: tuple(attempts) for job, attempts in by_job.items()},
    )


def jobs_in(file: EnergyFile, chain: ChainEnergy) -> JobsInFile | None:
    """Return the chain's jobs that a site's accounting file also contains; None if there are none."""
    rows = [row for row in file.rows if row.name in chain.jobs]
    names = dict.fromkeys(row.name for row in rows)
    if not names:
        return None
    attempts = [one for name in names for one in chain.jobs[name]]
    return JobsInFile(len(names), complete_sum(row.energy_kwh for row in rows), site_energies(attempts))


def _names(attempt: AttemptState) -> set[str]:
    raw = attempt.held.run.job_id if attempt.held else None
    return {name for name in (attempt.job, None if raw is None else str(raw)) if name}


def site_energies(attempts: Iterable[Counted]) -> tuple[SiteEnergy, ...]:
    """Return one sum per site, in the order of the attempts."""
    by_site: dict[str, list[Counted]] = {}
    for one in attempts:
        by_site.setdefault(one[1][0].site.name, []).append(one)
    return tuple(_site_energy(name, counted) for name, counted in by_site.items())


def _site_energy(name: str, attempts: Sequence[Counted]) -> SiteEnergy:
    hours = Known.sum([gpu_hours(usage) for usage, _ in attempts])
    if len(attempts) == 1:
        alone = tuple(attempts[0][1])
        return SiteEnergy(name, hours, alone, preferred(alone))
    by_method: dict[Method, list[EnergyFigure]] = {}
    for _, figures in attempts:
        for figure in figures:
            by_method.setdefault(figure.method, []).append(figure)
    sums = tuple(total(by_method[method]) for method in Method if method in by_method)
    return SiteEnergy(name, hours, sums, preferred(sums))


def _tokens(stages: Mapping[str, StageState], trainings: Iterable[str]) -> int | None:
    reached = [state.progress for name in trainings if (state := stages.get(name)) is not None]
    counts = [progress.done for progress in reached if progress is not None and progress.unit == "tokens"]
    return sum(counts) if counts else None
