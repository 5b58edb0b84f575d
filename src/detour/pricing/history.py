"""Measured durations of a workspace's finished stages, by which later plans are priced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from detour.accounting.attempts import usage_of
from detour.accounting.hours import HOUR_S, AttemptUsage
from detour.errors import UserError
from detour.grouping import grouped
from detour.ledger.state import StageState, State, speed_key
from detour.ledger.workspace import Workspace, marked
from detour.planning.files import read_stage
from detour.planning.stage import Stage
from detour.pricing.estimates import START_UP_S
from detour.pricing.price import Measured, work_signature, work_units

LATEST = 5
"""Number of newest stages of one kind that count, since machines and versions change."""
LEAST_ERROR = 0.05
ERROR_OF_ONE = 0.10
"""Relative error of a single measurement, which has no spread."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished stage, with the total over all its attempts."""

    stage: Stage
    signature: str
    """`work_signature`."""
    units: float | None
    """`work_units` for the GPUs it had."""
    cluster: str | None
    """Cluster profile of the last attempt."""
    attempts: int
    allocated_s: float
    """Allocated time of all attempts."""
    gpus: float | None
    gpu_hours: float | None
    start_up_s: float
    """Time of the last attempt up to its first progress; 0 if it reported none."""
    started_s: float
    """When the first attempt started, in seconds since the epoch."""
    ended_s: float
    result: Mapping[str, Any]


class _Sample(NamedTuple):
    fixed_s: float
    unit_s: float
    units: float


class LedgerHistory:
    """Implements `detour.pricing.price.History` for one cluster, from stages that completed in a single attempt.

    Stages with several attempts are left out: their time includes redone work and waiting.
    """

    def __init__(self, finished: Iterable[Finished], cluster: str, speeds: Mapping[str, tuple[float, float]]) -> None:
        """`speeds` are benchmarks from the folded ledger, used if no stage has finished yet."""
        self._cluster, self._speeds = cluster, speeds
        self._samples: dict[str, list[_Sample]] = {}
        for one in sorted(finished, key=lambda one: one.ended_s):
            sample = _sample(one) if one.cluster == cluster and one.attempts == 1 else None
            if sample is not None:
                self._samples.setdefault(one.signature, []).append(sample)

    @property
    def signatures(self) -> list[str]:
        """Signatures with a measurement, in the order in which they first ended."""
        return list(self._samples)

    def measured(self, signature: str) -> Measured | None:
        samples = self._samples.get(signature, [])[-LATEST:]
        if not samples:
            return self._benchmarked(signature)
        unit_s = fmean(sample.unit_s for sample in samples)
        spread = max(abs(sample.unit_s - unit_s) for sample in samples) / unit_s if unit_s > 0 else 0.0
        fixed_s, units = (fmean(column) for column in ([s.fixed_s for s in samples], [s.units for s in samples]))
        error = max(LEAST_ERROR, spread) if len(samples) > 1 else ERROR_OF_ONE
        return Measured(fixed_s, unit_s, units, len(samples), error)

    def _benchmarked(self, signature: str) -> Measured | None:
        _, tokens_per_s = self._speeds.get(speed_key(self._cluster, signature), (0.0, 0.0))
        if not tokens_per_s:
            return None
        return Measured(START_UP_S.expected, 1 / tokens_per_s, units=None, stages=0, error=ERROR_OF_ONE)


def finished_stages(
    workspace: Workspace, state: State, planned: Mapping[str, Stage] | None = None
) -> Iterator[Finished]:
    """Yield the finished stages that also have their marker, reading their stage files and skipping unreadable ones.

    With `planned` (by id), only those stages are considered, and no files are read.
    """
    for stage_state in state.stages.values():
        if planned is not None and stage_state.id not in planned:
            continue
        if stage_state.status == "done" and marked(workspace.is_done, stage_state.id):
            stage = planned[stage_state.id] if planned is not None else _readable_stage(workspace, stage_state.id)
            finished = None if stage is None else _finished(stage, stage_state)
            if finished is not None:
                yield finished


def latest_alike(workspace: Workspace, state: State, stages: Iterable[Stage], cluster: str) -> Iterator[Finished]:
    """Yield the finished stages that count for the price of these stages on this cluster, the newest first.

    The signature is in the stage file, so files are read, back in time, until there are enough of each signature.
    """
    by_kind = grouped((stage.kind, work_signature(stage)) for stage in stages)
    missing: dict[str, dict[str, int]] = {kind: dict.fromkeys(those, LATEST) for kind, those in by_kind.items()}
    for known in sorted(state.stages.values(), key=_last_seen_s, reverse=True):
        wanted = missing.get(known.id.partition("-")[0])
        if not wanted or known.status != "done" or _cluster(known) != cluster or len(_usages(known)) != 1:
            continue
        stage = _readable_stage(workspace, known.id) if marked(workspace.is_done, known.id) else None
        finished = None if stage is None else _finished(stage, known)
        if finished is None or finished.signature not in wanted or _sample(finished) is None:
            continue
        yield finished
        wanted[finished.signature] -= 1
        if not wanted[finished.signature]:
            del wanted[finished.signature]


def _last_seen_s(known: StageState) -> float:
    return max((attempt.last_seen_s or 0.0 for attempt in known.attempts_by_key.values()), default=0.0)


def _sample(finished: Finished) -> _Sample | None:
    """Return the sample of a finished stage, None without units.

    A training's time is proportional to its tokens, with checkpoints and validations, once it has started up.
    """
    if not finished.units:
        return None
    fixed_s = finished.start_up_s if finished.stage.kind == "pretrain" else 0.0
    return _Sample(fixed_s, (finished.allocated_s - fixed_s) / finished.units, finished.units)


def _readable_stage(workspace: Workspace, stage_id: str) -> Stage | None:
    try:
        return read_stage(workspace, stage_id)
    except UserError:
        return None


def _finished(stage: Stage, state: StageState) -> Finished | None:
    usages = _usages(state)
    if not usages:
        return None
    last = usages[-1]
    known = [usage.gpus * usage.allocated_s / HOUR_S for usage in usages if usage.gpus is not None]
    return Finished(
        stage=stage,
        signature=work_signature(stage),
        units=work_units(stage, last.gpus or 0),
        cluster=_cluster(state),
        attempts=len(usages),
        allocated_s=sum(usage.allocated_s for usage in usages),
        gpus=last.gpus,
        gpu_hours=sum(known) if len(known) == len(usages) else None,
        start_up_s=0.0 if last.ready_s is None else last.ready_s - last.start_s,
        started_s=usages[0].start_s,
        ended_s=last.end_s,
        result=state.result if isinstance(state.result, dict) else {},
    )


def _usages(state: StageState) -> list[AttemptUsage]:
    return [usage for attempt in state.attempts if (usage := usage_of(state.id, attempt, float("inf")))]


def _cluster(state: StageState) -> str | None:
    """Return the cluster profile of the last attempt."""
    last = state.last_attempt
    return last.started.event.cluster if last and last.started else None
