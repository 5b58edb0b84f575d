"""`python -m detour.jobs.next_wave --workspace W UNIT`: the small job between two waves, on a compute node.

The only part of `launch` that Slurm runs, and only where a profile says `compute_nodes_submit`. It does what a person
would do by typing the same `detour submit` again, from what the workspace holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from detour.errors import DetourError, SchedulerUnavailable, StageFailed, UserError
from detour.launch.submit import make_order, send
from detour.ledger.workspace import Workspace
from detour.orchestration.slurm import submission_folder
from detour.orchestration.waves import ORDER, Continuation
from detour.planning.build import Plan
from detour.planning.stage import Stage

PATIENCE_S = 1200.0
"""For a Slurm that does not answer or takes no more jobs now; less than the job's own limit."""
PAUSE_S = 30.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("unit", help="whose order.json is gone on with")
    options = parser.parse_args(arguments)
    place = Workspace(options.workspace)
    try:
        continuation = Continuation.read(place, options.unit)
        ordered_s = (submission_folder(place, options.unit) / ORDER).stat().st_mtime
        patiently(lambda: send_wave(place, continuation, ordered_s))
    except DetourError as error:
        click.echo(f"detour: {error}", err=True)
        return error.exit_code
    return 0


def send_wave(place: Workspace, continuation: Continuation, ordered_s: float) -> None:
    """Raises StageFailed where the wave that was ordered at `ordered_s` brought nothing further: no other would."""
    planned = {stage_id: read_stage(place, stage_id) for ids in continuation.chains.values() for stage_id in ids}
    failed = [stage for stage in planned.values() if place.has_failed(stage.id)]
    if sum(map(place.is_done, planned)) <= continuation.done and not has_checkpoint_since(place, planned, ordered_s):
        raise StageFailed(
            f"{continuation.name}: the last wave brought nothing further, so this was it; `detour submit` goes on"
        )
    plans = [Plan(chain, tuple(map(planned.__getitem__, ids)), {}) for chain, ids in continuation.chains.items()]
    wishes, gpus, sweep = continuation.wishes, continuation.gpus, continuation.sweep
    order = make_order(place, continuation.name, plans, continuation.cluster, wishes, gpus, sweep, failed)
    if order.requests:
        send(place, order, as_json=False, why_over=continuation.why_over)
    else:
        click.echo(f"{continuation.name}: nothing is left to submit")


def has_checkpoint_since(place: Workspace, stages: Iterable[str], since_s: float) -> bool:
    """Whether any training got on, though none may have ended: a wave can be all segments of one."""
    found = (path for stage_id in stages for path in (place.stage(stage_id) / "work").glob("checkpoints/step-*"))
    return any(path.stat().st_mtime > since_s for path in found)


def read_stage(place: Workspace, stage_id: str) -> Stage:
    path = place.stage(stage_id) / "stage.json"
    try:
        return Stage.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: {error}; submit the recipe again") from error


def patiently(act: Callable[[], None], wait: Callable[[float], None] = time.sleep) -> None:
    """Again and again while Slurm gives no answer. Raises SchedulerUnavailable in the end."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return act()
        except SchedulerUnavailable as error:
            if time.monotonic() > give_up_s:
                raise
            click.echo(f"detour: {error}; trying again in {PAUSE_S:.0f} s", err=True)
            wait(PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
