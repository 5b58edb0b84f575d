"""The outcome of an order about jobs in Slurm, and what it left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from detour.launch.text.screen import columns, show, show_json, warn
from detour.orchestration.control import Controlled
from detour.text import counted, stage_names, wrapped

LISTED = 12
"""Number of stages or jobs up to which each is named."""
DEFERRED = {"cancelled": "not sent by the next wave any more", "held": "without a job, held once they are sent"}


def show_controlled(reached: Controlled, *, as_json: bool) -> None:
    warn(reached.warnings)
    if as_json:
        show_json(controlled_json(reached))
    else:
        show(*(line for text in controlled_lines(reached) for line in wrapped(text, "", columns())))


def controlled_lines(reached: Controlled) -> Iterator[str]:
    done, affected, labels = reached.done, reached.affected, reached.labels
    if affected.ids:
        names = [labels.get(stage, stage) for stage in affected.stages]
        is_short = len(names) <= LISTED and len(set(names)) == len(names)
        yield f"{done}: {', '.join(names) if is_short else stage_names(names)}"
        yield _jobs(affected.ids)
    elif not (affected.left or affected.undecided or reached.deferred):
        whose = "yours" if affected.theirs else "this workspace"
        yield f"nothing {done}: {affected.seen_in} has no such job of {whose}"
    if reached.deferred:
        deferred = stage_names([labels.get(stage, stage) for stage in reached.deferred])
        yield f"{DEFERRED[done]}: {deferred}"
    if reached.kept:
        yield f"not {done}, other chains need them (--shared includes them): {stage_names(list(reached.kept.values()))}"
    for sent in affected.theirs:
        stages = ", ".join(labels[stage] for stage in sent.stages if stage in labels)
        yield f"not {done}: job {sent.job_id} of {sent.owner} ({stages})"


def _jobs(ids: Sequence[str]) -> str:
    return f"jobs: {', '.join(ids)}" if len(ids) <= LISTED else f"{counted(len(ids), 'job')}: {ids[0]} to {ids[-1]}"


def controlled_json(reached: Controlled) -> dict[str, Any]:
    affected = reached.affected
    return {
        reached.done: {"jobs": list(affected.ids), "stages": list(affected.stages)},
        "left": {**affected.left, **affected.undecided},
        "kept": list(reached.kept),
        "deferred": list(reached.deferred),
        "others": [{"job": sent.job_id, "user": sent.owner, "stages": list(sent.stages)} for sent in affected.theirs],
    }
