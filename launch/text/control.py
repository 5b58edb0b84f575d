"""What an order about jobs in Slurm reached, and which jobs of other users it left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detour.launch.text.screen import show, show_json, warn
from detour.orchestration.control import Controlled


def show_controlled(reached: Controlled, *, as_json: bool) -> None:
    warn(reached.warnings)
    if as_json:
        show_json(controlled_json(reached))
    else:
        show(*controlled_lines(reached))


def controlled_lines(reached: Controlled) -> Iterator[str]:
    done, affected, labels = reached.done, reached.affected, reached.labels
    if affected.ids:
        yield f"{done}: {', '.join(labels.get(stage, stage) for stage in affected.stages)}"
        yield f"jobs: {', '.join(affected.ids)}"
    elif not affected.left:
        yield f"nothing {done}: Slurm has no such job of {'yours' if affected.theirs else 'this workspace'}"
    for sent in affected.theirs:
        stages = ", ".join(labels[stage] for stage in sent.stages if stage in labels)
        yield f"not {done}: job {sent.job_id} of {sent.owner} ({stages})"


def controlled_json(reached: Controlled) -> dict[str, Any]:
    affected = reached.affected
    return {
        reached.done: {"jobs": list(affected.ids), "stages": list(affected.stages)},
        "left": dict(affected.left),
        "others": [{"job": sent.job_id, "user": sent.owner, "stages": list(sent.stages)} for sent in affected.theirs],
    }
