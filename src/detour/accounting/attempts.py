"""Convert an attempt in the ledger to accounting terms: hours, fates, energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from detour.accounting.energy import EnergyFigure, Method
from detour.accounting.hours import HOUR_S, AttemptUsage
from detour.accounting.methods import UNREAD, card_convention, estimated, number, slurm_counted, tracked
from detour.site import Site

if TYPE_CHECKING:
    from detour.accounting.traces import Spans
    from detour.ledger.allocations import Held
    from detour.ledger.events import AttemptStarted, Event, JobAccounted
    from detour.ledger.record import Entry
    from detour.ledger.state import AttemptState

Number = TypeVar("Number", int, float)
DEAD_AFTER_S = 120.0
"""Time without a sign of life after which an attempt counts as ended: several heartbeats, as file systems are slow."""
LOST_TO_ERROR = "failed"
SACCT = "sacct"
"""Value of `JobAccounted.source`."""


def is_running(attempt: AttemptState, now_s: float) -> bool:
    """Whether no end was recorded and there was a recent sign of life; `now_s` is seconds since the epoch."""
    if attempt.ended is not None:
        return False
    seen_s = attempt.last_seen_s
    return seen_s is not None and now_s - seen_s < DEAD_AFTER_S


def usage_of(stage: str, attempt: AttemptState, now_s: float) -> AttemptUsage | None:
    """Return what is known of an attempt's allocation, None if it never had one.

    Start, end and size come from the scheduler's accounting if it was read, otherwise from the journal, in which an
    attempt without an end ends at its last sign of life. A stage that finished without reporting progress, such as an
    export, was useful from its start.
    """
    journal = _by_journal(stage, attempt, now_s)
    held = attempt.held
    if held is None:
        return journal
    run = held.run
    if journal is None:
        return AttemptUsage(
            id=f"{stage}.0000.{attempt.executor or ''}.{held.start_s:.0f}",
            stage=stage,
            start_s=held.start_s,
            end_s=held.end_s,
            gpus=_boards(run),
            cpus=_count(run.cpus),
            nodes=_count(run.nodes) or 1,
            worked_until_s=held.start_s,
            source=run.source,
            active=held.active,
        )
    journal = _moved_into(held, journal)
    return journal._replace(
        start_s=held.start_s,
        end_s=held.end_s,
        gpus=_gpus(run, attempt, journal.gpus),
        cpus=_either(run.cpus, journal.cpus),
        nodes=_count(run.nodes) or journal.nodes,
        worked_until_s=journal.end_s,
        running=False,
        open_ended=False,
        source=run.source,
        active=held.active,
    )


def _moved_into(held: Held, usage: AttemptUsage) -> AttemptUsage:
    """Move an attempt's work into what it held, which clocks that differ may put outside, at the pace at which it held
    it."""
    first_s = usage.start_s if usage.worked_from_s is None else usage.worked_from_s
    begin_s = max(held.start_s, min(first_s, held.end_s - (usage.end_s - first_s) * held.pace))
    if begin_s == first_s and held.pace == 1.0:
        return usage
    instants = {name: getattr(usage, name) for name in ("end_s", "worked_from_s", "ready_s", "saved_s")}
    moved: dict[str, Any] = {
        name: begin_s + (at_s - first_s) * held.pace for name, at_s in instants.items() if at_s is not None
    }
    return usage._replace(**moved)


def _by_journal(stage: str, attempt: AttemptState, now_s: float) -> AttemptUsage | None:
    elapsed_s, outcome = attempt.elapsed_s, attempt.outcome
    if attempt.started is None or elapsed_s is None:
        return None
    held = attempt.started.event
    first_s = attempt.started.wall_s
    end_s = first_s + elapsed_s
    done = outcome == "done"
    running = is_running(attempt, now_s)
    ready_s = _at(attempt.first_progress, attempt.started)
    return AttemptUsage(
        id=f"{stage}.{attempt.number or 0:04d}.{attempt.executor or ''}",
        stage=stage,
        start_s=first_s if held.held_since_s is None else min(held.held_since_s, first_s),
        end_s=end_s,
        gpus=number(held.boards) if held.slices else _count(held.gpus),
        cpus=_count(held.cpus),
        nodes=_count(held.nodes) or 1,
        ram_gb=number(held.ram_gb),
        ready_s=first_s if done and ready_s is None else ready_s,
        worked_from_s=first_s,
        saved_s=end_s if done else _at(attempt.checkpoint, attempt.started),
        failed=outcome == LOST_TO_ERROR,
        running=running,
        open_ended=attempt.ended is None and not running,
    )


def figures_of(
    attempt: AttemptState, usage: AttemptUsage, site: Site, spans: Spans | None = None
) -> list[EnergyFigure]:
    """Return one figure per method; unknown ones state the reason.

    `spans` cover all attempts that may have shared a GPU with this one (`traces.spans_in`).
    """
    allocated_s = usage.allocated_s
    then = _then(site, usage)
    reserved = None if usage.gpus is None else usage.gpus * allocated_s / HOUR_S
    return [
        _measured(attempt, usage, site, spans),
        tracked(then, [entry.event for entry in attempt.energy.values()], allocated_s, usage.nodes),
        estimate_of(usage, site),
        *_by_slurm(attempt, usage, then),
        card_convention(then, reserved, allocated_s),
    ]


def estimate_of(usage: AttemptUsage, site: Site) -> EnergyFigure:
    """Return the estimate (M2), for sums that include work that has not run yet and must be of a single method."""
    return estimated(_then(site, usage), usage.allocated_s, usage.gpus, usage.cpus, usage.ram_gb)


def _then(site: Site, usage: AttemptUsage) -> Site:
    """Return the site with the PUE and grid factor of the months and hours in which the attempt ran."""
    if not site.months and site.hourly is None:
        return site
    from detour.accounting.periods import over  # few profiles have months or hours

    return over(site, [(usage.start_s, usage.end_s, 1.0)])


def _measured(attempt: AttemptState, usage: AttemptUsage, site: Site, spans: Spans | None) -> EnergyFigure:
    if not attempt.readings:
        return EnergyFigure(Method.MEASURED, site, None, usage.allocated_s, 0.0, reason=UNREAD)
    from detour.accounting.measured import measured  # `detour status` rarely needs it

    return measured(site, list(attempt.readings.values()), usage, spans)


def _by_slurm(attempt: AttemptState, usage: AttemptUsage, site: Site) -> Iterator[EnergyFigure]:
    """Yield the attempt's share, by time, of its job's energy; nothing for an attempt that Slurm did not run."""
    run = attempt.held.run if attempt.held else None
    if run is None or run.source != SACCT:
        if run is None and attempt.process is None:
            yield EnergyFigure(Method.SLURM, site, None, usage.allocated_s, 0.0, reason="sacct was not read")
        return
    part = usage.allocated_s / run.elapsed_s if run.elapsed_s else 0.0
    energy_j = number(run.energy_j)
    yield slurm_counted(
        site,
        None if energy_j is None else energy_j * min(1.0, part),
        usage.allocated_s,
        is_exclusive=site.node.is_exclusive(usage.nodes, usage.gpus, usage.cpus) if site.node else None,
        gpus=usage.gpus,
        cores=usage.cpus,
        ram_gb=usage.ram_gb,
    )


def _gpus(run: JobAccounted, attempt: AttemptState, seen: float | None) -> float | None:
    """Return the GPUs of an attempt in boards; a mere count would take slices (MIG) for whole boards."""
    if attempt.started is not None and attempt.started.event.slices:
        return run.boards if seen is None else seen
    return _either(_boards(run), seen)


def _boards(run: JobAccounted) -> float | None:
    return _count(run.gpus) if run.boards is None else number(run.boards)


def _either(accounted: Number | None, seen: Number | None) -> Number | None:
    """Return the accounted number, or the observed one if that is 0 or unknown: not every site tracks GPUs."""
    return _count(accounted) or (_count(accounted) if seen is None else seen)


def _count(value: Number | None) -> Number | None:
    return value if value is not None and value >= 0 else None


def _at(entry: Entry[Event] | None, started: Entry[AttemptStarted]) -> float | None:
    """Return when an event happened, by the writer's monotonic clock since the start if it is the same writer."""
    if entry is None:
        return None
    if entry.writer == started.writer:
        return started.wall_s + entry.mono_s - started.mono_s
    return entry.wall_s
