"""Yields: tokens per kWh, and the cost of a point of score across a sweep; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detour.accounting.energy import Band
from detour.reporting.data import Chain, Phase, Stage

POINT = 0.01
"""A point of score; scores are shares from 0 to 1."""


@dataclass(frozen=True, slots=True)
class TokenYield:
    """A training's tokens compared with the usage of all its attempts, including redone work."""

    chain: str
    phase: str
    tokens: int | None
    hours: float | None
    """GPU-hours, or CPU-hours if nothing in the report used a GPU."""
    energy_method: str | None
    facility_energy_kwh: Band | None
    tokens_per_kwh: float | None
    tokens_per_hour: float | None


@dataclass(frozen=True, slots=True)
class PointCost:
    """A chain's score and cost, compared with those of the cheapest chain."""

    chain: str
    score: float
    """Mean over all tasks, each a mean over seeds, as a share."""
    hours: float
    """GPU-hours of all its stages, including shared ones; CPU-hours if nothing in the report used a GPU."""
    co2_g: float | None
    more_points: float
    more_hours: float
    hours_per_point: float | None
    """None for the cheapest chain, and if more hours gave no higher score."""
    is_best_so_far: bool
    """Whether no cheaper chain scores as high."""


def consumed_tokens(phase: Phase, stage: Stage) -> int | None:
    """Return the tokens that a training has consumed so far; None before the first."""
    return phase.tokens if stage.status == "done" else phase.tokens_done


def token_yields(
    chains: Sequence[Chain], stages: dict[str, Stage], method: str | None, on_gpus: bool
) -> list[TokenYield]:
    """Return a row per complete training, under its first chain; all energies are by one method, to be comparable."""
    rows: dict[str, TokenYield] = {}
    for chain in chains:
        for phase in chain.phases:
            stage = stages[phase.stage]
            if phase.stage in rows or not stage.attempts or stage.is_cut:
                continue
            row = stage.cost.energy_by(method)
            energy = row.facility_energy_kwh if row else None
            hours = stage.cost.hours(on_gpus).value
            tokens = consumed_tokens(phase, stage)
            rows[phase.stage] = TokenYield(
                chain=chain.name if len(stage.chains) == 1 else f"{len(stage.chains)} chains",
                phase=phase.name,
                tokens=tokens,
                hours=hours,
                energy_method=method if energy else None,
                facility_energy_kwh=energy,
                tokens_per_kwh=tokens / energy.expected if tokens is not None and energy and energy.expected else None,
                tokens_per_hour=tokens / hours if tokens is not None and hours else None,
            )
    return list(rows.values())


def point_costs(chains: Sequence[Chain], method: str | None, on_gpus: bool) -> list[PointCost]:
    """Return the chains with all scores, cheapest first."""
    scored = []
    for chain in chains:
        score, hours = chain.mean_score, chain.cost.hours(on_gpus).value
        if score is not None and hours is not None:
            scored.append((hours, score, chain))
    scored.sort(key=lambda one: (one[0], -one[1]))
    rows: list[PointCost] = []
    for hours, score, chain in scored:
        cheapest_hours, cheapest_score, _ = scored[0]
        points, more = (score - cheapest_score) / POINT, hours - cheapest_hours
        row = chain.cost.energy_by(method)
        rows.append(
            PointCost(
                chain.name,
                score,
                hours,
                row.co2_g.expected if row and row.co2_g else None,
                points,
                more,
                more / points if points > 0 and more > 0 else None,
                all(score > before.score for before in rows),
            )
        )
    return rows
