"""A stage with its segments and attempts, in full: nothing is cut to a column. All of it may be untrusted text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from detour.launch.text.overview import clock, ends_in
from detour.launch.text.status import energy_lines, progress, rate, summary
from detour.ledger.workspace import Workspace
from detour.monitoring.reasons import reason_in_words
from detour.monitoring.status import AttemptRow, ChainStatus, SegmentRow, StageRow, Status, plain_values
from detour.planning.selection import Selection
from detour.text import ENERGY_UNITS, MASS_UNITS, amount, format_duration, plain, scaled, wrapped

NAMED = 3
"""Chains that are named of the many that share a stage."""
FIGURES = ("loss", "validation_loss", "validation_f1", "gradient_norm", "lr")


def shown_lines(status: Status, meant: Selection, workspace: Workspace, width: int) -> Iterator[str]:
    """The chains that are named, then their stages and those named individually, each once."""
    for chain in status.chains:
        if chain.name in meant.chains:
            yield from wrapped_lines(chain_lines(chain, status.now_s), width)
            yield ""
    labels = {row.id: row.label for chain in status.chains for row in chain.stages}
    for row in _stages(status, meant):
        yield from wrapped_lines(stage_lines(row, labels, status.now_s), width)
        yield f"  folder {plain(str(workspace.stage(row.id)))}"
        yield ""


def wrapped_lines(lines: Iterable[str], width: int) -> Iterator[str]:
    """The lines in so many columns; what continues one is indented like it."""
    for line in lines:
        text = line.lstrip()
        yield from wrapped(text, line[: -len(text)], width)


def shown_json(status: Status, meant: Selection) -> dict[str, Any]:
    """Like `Status.to_json`, with every stage once in place of the stages of each chain."""
    chains = [chain for chain in status.chains if chain.name in meant.chains]
    whole = status._replace(chains=tuple(chains)).to_json()
    return {**whole, "stages": [plain_values(row) for row in _stages(status, meant)]}


def _stages(status: Status, meant: Selection) -> Iterable[StageRow]:
    rows: dict[str, StageRow] = {}
    for chain in status.chains:
        for row in chain.stages:
            if chain.name in meant.chains or row.id in meant.stages:
                rows.setdefault(row.id, row)
    return rows.values()


def chain_lines(chain: ChainStatus, now_s: float) -> Iterator[str]:
    yield plain(f"{chain.name}: {summary(chain)}")
    belongs = {"sweep": chain.sweep, "project": chain.project, "cluster": chain.cluster, "user": chain.user}
    if named := [f"{word} {name}" for word, name in belongs.items() if name]:
        yield f"  {plain(', '.join(named))}"
    if chain.submitted_s is not None:
        yield f"  submitted {clock(chain.submitted_s)}"
    if chain.critical_path:
        labels = {row.id: row.label for row in chain.stages}
        end = (
            "" if chain.ends_s is None or chain.is_over else f" ends {clock(chain.ends_s)} (in {ends_in(chain, now_s)})"
        )
        path = " -> ".join(labels[stage] for stage in chain.critical_path)
        yield f"  critical path{end}: {plain(path)}"
    yield from (f"  {line}" for line in energy_lines(chain.energy))


def stage_lines(row: StageRow, labels: dict[str, str], now_s: float) -> Iterator[str]:
    yield plain(f"{row.label} ({row.id}): {row.state}")
    if row.why:
        yield f"  {plain(row.why)}"
    if row.next_step:
        yield f"  next: {plain(row.next_step)}"
    yield f"  of {_first(row.chains)}"
    if row.inputs:
        yield f"  reads {plain(', '.join(labels.get(stage, stage) for stage in row.inputs))}"
    if going := _going(row, now_s):
        yield f"  {going}"
    if used := _used(row):
        yield f"  used {used}"
    for segment in row.segments:
        yield from _segment_lines(segment, now_s)


def _first(chains: Sequence[str]) -> str:
    named = ", ".join(map(plain, chains[:NAMED]))
    return named if len(chains) <= NAMED else f"{len(chains)} chains: {named}, ..."


def _going(row: StageRow, now_s: float) -> str:
    parts = [part for part in (progress(row), rate(row)) if part]
    parts += [f"{row.fraction:.0%}"] if row.fraction is not None and row.status != "done" else []
    parts += [f"MFU {row.mfu:.0%}"] if row.mfu is not None else []
    figures = ((name, row.figures.get(name)) for name in FIGURES)
    parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures if value is not None]
    parts += [f"reported {_ago(row.progress_s, now_s)}"] if row.progress_s is not None else []
    parts += [f"{format_duration(row.left_s)} left"] if row.left_s and row.status != "done" else []
    parts += [f"expected {format_duration(row.expected_s)}"] if row.expected_s is not None else []
    return ", ".join(parts)


def _used(row: StageRow) -> str:
    parts = [] if row.elapsed_s is None else [format_duration(row.elapsed_s)]
    parts += [] if row.gpu_hours is None else [f"{amount(row.gpu_hours)} GPU-h"]
    if row.facility_energy_kwh is not None:
        parts.append(f"{scaled(row.facility_energy_kwh, ENERGY_UNITS)}, {scaled(row.co2_g, MASS_UNITS)} CO2eq")
        parts[-1] += f" ({row.energy_method})"
    return ", ".join(parts)


def _segment_lines(segment: SegmentRow, now_s: float) -> Iterator[str]:
    seen = segment.seen
    parts = [_executor(segment)]
    if seen is not None:
        state = "not in the queue" if seen.has_left else seen.state
        parts.append(f"{state}{f' on {seen.nodes}' if seen.nodes else ''}, seen {_ago(seen.seen_s, now_s)}")
        if seen.standing == "waiting":
            parts.append(reason_in_words(seen.reason, seen.is_held))
    if segment.starts_s is not None:
        parts.append(f"expected to start {clock(segment.starts_s)}")
    waits = (("for dependencies or holds", segment.dependency_wait_s), ("for its turn", segment.queue_wait_s))
    waited = [f"{format_duration(wait_s)} {what}" for what, wait_s in waits if wait_s]
    parts += [f"waited {' and '.join(waited)}"] if waited else []
    yield f"  {plain(', '.join(parts))}"
    for attempt in segment.attempts:
        yield f"    {plain(_attempt(attempt, now_s))}"


def _executor(segment: SegmentRow) -> str:
    if segment.job:
        return f"job {segment.job}"
    return f"process {segment.process}" if segment.process else "without a scheduler"


def _attempt(attempt: AttemptRow, now_s: float) -> str:
    which = f"attempt {attempt.number}" if attempt.number > 0 else "a run that recorded no attempt,"
    parts = [f"{which} {attempt.state}"]
    parts += [f"on {attempt.node}"] if attempt.node else []
    parts += [f"began {clock(attempt.started_s)}"] if attempt.started_s is not None else []
    parts += [f"{format_duration(attempt.allocated_s)}"] if attempt.allocated_s is not None else []
    parts += [f"{amount(attempt.gpu_hours)} GPU-h"] if attempt.gpu_hours else []
    parts += [f"exit code {attempt.exit_code}"] if attempt.exit_code else []
    parts += [attempt.reason] if attempt.reason else []
    if attempt.ended_s is None and attempt.seen_s is not None:
        parts.append(f"last sign of life {_ago(attempt.seen_s, now_s)}")
    return ", ".join(parts)


def _ago(at_s: float, now_s: float) -> str:
    return f"{format_duration(max(now_s - at_s, 0.0))} ago"
