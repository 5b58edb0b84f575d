"""What is going on now, as tables of the live page: chains, worst first, and the stages that are under way or stuck."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from detour.monitoring.status import ChainStatus, StageRow, Status, worst_first
from detour.rendering import words
from detour.rendering.tables import Column, Table, number, or_dash
from detour.text import format_count, format_duration

QUIET = ("done", "promoted", "planned", "cancelled")
"""States of stages that are not listed."""
ROWS_ON_PAGE = 200


class OfStage(NamedTuple):
    chain: str
    stage: StageRow


def chains(status: Status, time_zone: str) -> Table:
    """Return the chains, worst first."""
    instant = partial(words.instant, time_zone=time_zone)
    columns = (
        Column("chain", "chain", path="name"),
        Column("status", "state", path="state"),
        Column("stages", "stages done", get=_done),
        number("ends_s", "ends", or_dash(instant)),
        number("gpu_hours", "GPU-hours", or_dash(words.figure)),
        Column("now", "now"),
    )
    return Table("now-chains", "Chains", columns, worst_first(status.chains), shown=ROWS_ON_PAGE)


def stages(status: Status) -> Table:
    """Return the stages that run, wait or stopped, each once, the worst first."""
    found: dict[str, OfStage] = {}
    for chain in status.chains:
        for row in chain.stages:
            if row.state not in QUIET:
                found.setdefault(row.id, OfStage(chain.name, row))
    rows = sorted(found.values(), key=lambda one: one.stage.gravity)
    columns = (
        Column("chain", "chain"),
        Column("stage", "stage", path="stage.label"),
        Column("status", "state", path="stage.state"),
        Column("progress", "progress", get=_progress),
        number("rate_per_s", "per second", or_dash(lambda value: format_count(round(value))), "stage.rate_per_s"),
        number("left_s", "left", or_dash(format_duration), "stage.left_s"),
        number("loss", "loss", or_dash(words.significant), "stage.loss"),
        Column("why", "why", path="stage.why"),
        Column("next_step", "next step", path="stage.next_step"),
    )
    return Table("now-stages", "Stages under way", columns, rows, shown=ROWS_ON_PAGE)


def _done(chain: ChainStatus) -> str:
    return f"{chain.counts.get('done', 0)} of {len(chain.stages)}"


def _progress(row: OfStage) -> str | None:
    stage = row.stage
    if stage.done is None:
        return None
    whole = "" if stage.total is None else f" of {format_count(stage.total)}"
    return f"{format_count(stage.done)}{whole} {stage.unit or ''}".strip()
