"""`python -m detour.jobs.next_wave --workspace W UNIT`: the small job between two waves, on a compute node.

It runs only if the profile sets `compute_nodes_submit`, and does what the same `detour submit` would do again, from
what is in the workspace.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from detour.errors import DetourError, SchedulerUnavailable, StageFailed
from detour.jobs.log import LOGGER, log_to_stderr
from detour.ledger.workspace import Workspace
from detour.orchestration.order import PlanGroup, make_order
from detour.orchestration.slurm import submission_folder
from detour.orchestration.submit import send
from detour.orchestration.waves import ORDER, Continuation, is_replaced, still_planned
from detour.planning.files import read_stage
from detour.planning.plan import Plan

PATIENCE_S = 1200.0
"""Seconds to wait for a Slurm that does not answer or takes no more jobs now; less than the job's own time limit."""
PAUSE_S = 30.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("unit", help="the folder under submissions/ with the order")
    options = parser.parse_args(arguments)
    log_to_stderr()
    workspace = Workspace(options.workspace)
    try:
        patiently(lambda: send_wave(workspace, options.unit))
    except DetourError as error:
        LOGGER.error(error)
        return error.exit_code
    return 0


def send_wave(workspace: Workspace, unit: str) -> None:
    """Raises StageFailed if the wave before this one made no progress: another would not either.

    Raises SchedulerUnavailable also if the order is changed meanwhile, as by `detour cancel`: the next try reads it.
    """
    continuation = Continuation.read(workspace, unit)
    if is_replaced(workspace, unit):
        LOGGER.info("%s: submitted again meanwhile, which sent this wave", continuation.name)
        return
    wanted = still_planned(workspace, continuation)
    planned = {stage_id: read_stage(workspace, stage_id) for ids in wanted.chains.values() for stage_id in ids}
    done = sum(map(workspace.is_done, planned))
    ordered_s = (submission_folder(workspace, unit) / ORDER).stat().st_mtime
    if done <= continuation.done and not has_checkpoint_since(workspace, planned, ordered_s):
        raise StageFailed(
            f"{continuation.name}: the last wave made no progress, so no further one is sent; `detour submit` resumes"
        )
    plans = [Plan(chain, tuple(map(planned.__getitem__, ids))) for chain, ids in wanted.chains.items()]
    group = PlanGroup(continuation.name, plans, continuation.sweep)
    order = make_order(workspace, group, continuation.cluster, continuation.options)
    if not order.requests:
        LOGGER.info("%s: nothing is left to submit", continuation.name)
        return

    def confirm() -> None:
        if is_replaced(workspace, unit) or Continuation.read(workspace, unit) != continuation:
            raise SchedulerUnavailable(f"{continuation.name}: its order has changed meanwhile")

    sent = send(
        workspace,
        order,
        over_budget=continuation.why_over,
        on_wait=lambda holder: LOGGER.info("waiting: %s is submitting to this workspace", holder),
        finish_interrupted=lambda: True,
        confirm=confirm,
    )
    sent.require_done()
    LOGGER.info("submitted %d jobs; %d deferred", len(sent.submission.jobs), len(sent.submission.deferred))


def has_checkpoint_since(workspace: Workspace, stages: Iterable[str], since_s: float) -> bool:
    """Whether any training saved a checkpoint, even if none has ended: a wave may be only segments of one training."""
    found = (path for stage_id in stages for path in (workspace.stage(stage_id) / "work").glob("checkpoints/step-*"))
    return any(path.stat().st_mtime > since_s for path in found)


def patiently(act: Callable[[], None], wait: Callable[[float], None] = time.sleep) -> None:
    """Retry while Slurm gives no answer. Raises SchedulerUnavailable in the end."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return act()
        except SchedulerUnavailable as error:
            if time.monotonic() > give_up_s:
                raise
            LOGGER.warning("%s; trying again in %.0f s", error, PAUSE_S)
            wait(PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
