"""Versions of models, and the lineage of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from detour.launch.text.screen import columns, show, show_json
from detour.models.aliasing import Move
from detour.models.comparing import Average
from detour.models.lineage import Step
from detour.models.versions import KIND, SHORT, Version
from detour.text import aligned, counted, plain, wrapped

SHOWN_DIGITS = 12
SHOWN_FILES = 3
"""Of each source; a corpus may have thousands."""


def show_versions(versions: Sequence[Version], scores: Mapping[str, Average], *, as_json: bool) -> None:
    if as_json:
        show_json(
            [
                asdict(one) | {"version": one.name, "average": scores[one.name].mean, "tasks": scores[one.name].tasks}
                for one in versions
            ]
        )
        return
    if not versions:
        show("No finished export yet. `detour run RECIPE` makes one.")
        return
    rows = [("version", "made", "average", "tasks", "aliases"), *(_row(one, scores[one.name]) for one in versions)]
    for line in aligned(rows):
        show(*wrapped(line, "", columns()))


def show_lineage(version: Version, folder: str, steps: Sequence[Step], *, as_json: bool) -> None:
    if as_json:
        show_json({**asdict(version), "folder": folder, "lineage": [asdict(step) for step in steps]})
        return
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    show(plain(f"{version.name}{aliases}, made {_day(version.made_s)}"), f"  {folder}")
    for step in steps:
        for line in _step_lines(step):
            show(*wrapped(plain(line), "  " if line.startswith(step.label) else "    ", columns()))


def show_moved(move: Move) -> None:
    before = "" if move.before is None else f", before to {_short(move.before)}"
    before = ", as before" if move.before == move.after else before
    reason = f": {move.why}" if move.why else ""
    show(plain(f"{move.model}@{move.alias} points to {_short(move.after)}{before}{reason}"))


def _row(version: Version, score: Average) -> tuple[str, str, str, str, str]:
    average = "unknown" if score.mean is None else f"{score.mean:.1f}"
    marks = [*version.aliases, *(["the recipe's"] if version.is_current else [])]
    return (
        plain(version.name),
        _day(version.made_s),
        average,
        "-" if score.tasks is None else str(score.tasks),
        ", ".join(marks),
    )


def _step_lines(step: Step) -> Iterator[str]:
    yield f"{step.label}  {step.stage}"
    yield f"output sha256 {(step.sha256 or 'unknown')[:SHOWN_DIGITS]}"
    if step.start:
        yield f"starts from {step.start}"
    if "phase" in step.settings and "optimizer" in step.settings:
        yield _recipe(step.settings)
    for source, files in groupby(step.data, lambda file: file.source):
        names = [f"data {source}: {file.name}, digest {file.fingerprint[:SHOWN_DIGITS]}" for file in files]
        yield from names[:SHOWN_FILES]
        if len(names) > SHOWN_FILES:
            yield f"data {source}: {counted(len(names) - SHOWN_FILES, 'more file')}; --json names all"
    jobs = f", jobs {', '.join(step.jobs)}" if step.jobs else ""
    yield f"code {(step.code or 'unknown')[:SHOWN_DIGITS]}, {counted(step.attempts, 'attempt')}{jobs}"
    yield from (f"gate {gate} overridden: {why}" for gate, why in step.overridden.items())


def _recipe(settings: Mapping[str, Any]) -> str:
    """The main settings of a training; --json has all of them."""
    phase, seeds = settings["phase"], settings["seeds"].values()
    return (
        f"{phase['objective']}, {phase['tokens']:,} tokens, lr {settings['optimizer']['lr']:g}, batches of "
        f"{settings['batch_sequences']} x {settings['sequence_length']}, "
        f"seeds {' and '.join(map(str, seeds))}"
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _short(export: str) -> str:
    return export.removeprefix(KIND)[:SHORT]
