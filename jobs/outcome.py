"""The outcome of an attempt, and its exit code: whether to try again is for the scheduler."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detour.diagnosis.policy import ends_for_good
from detour.diagnosis.verdict import Verdict
from detour.errors import DetourError, Interrupted, NoRoom, NotReady, PermanentFailure, UserError
from detour.jobs.diagnosis import diagnosis_event, verdict_on_failure
from detour.jobs.log import best_effort
from detour.jobs.progress import FRUITLESS_ATTEMPTS, got_further, is_fruitless, leave_uncounted
from detour.ledger.attempt import Attempt
from detour.ledger.stages import is_out_of_time
from detour.ledger.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Outcome:
    exit_code: int
    name: str
    """done, interrupted, failed, refused, already-done."""
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    out_of_room: bool = False
    error: Exception | None = field(default=None, repr=False)
    """The exception raised by the work, if it was unexpected."""


def guarded(attempt: Callable[[], dict[str, Any]]) -> Outcome:
    """Run an attempt, turning whatever it raises into an outcome with its exit code."""
    try:
        return Outcome(0, "done", result=attempt())
    except Interrupted as error:
        return Outcome(error.exit_code, "interrupted", str(error))
    except NotReady as error:
        return Outcome(error.exit_code, "not-ready", str(error))
    except (PermanentFailure, UserError) as error:
        return Outcome(PermanentFailure.exit_code, "failed", str(error))
    except DetourError as error:
        return Outcome(error.exit_code, "failed", str(error), out_of_room=isinstance(error, NoRoom))
    except Exception as error:  # noqa: BLE001  the journal must say how any attempt ended
        traceback.print_exc()
        return Outcome(1, "failed", f"{type(error).__name__}: {error}", error=error)


def diagnosed(workspace: Workspace, folder: Path, attempt: Attempt, number: int, outcome: Outcome) -> Outcome:
    """The outcome, or a permanent failure if the verdict on it is that only a change can help."""
    if outcome.error is None:
        return outcome
    verdict = verdict_on_failure(workspace, folder.name, attempt.job, outcome.error)
    attempt.event(diagnosis_event(verdict))
    if ends_for_good(verdict, is_further=got_further(folder, number)):
        reason = f"{verdict.line.rstrip('.')}. {verdict.first.advice}"
        return Outcome(PermanentFailure.exit_code, "failed", reason)
    return outcome


def not_worthwhile(folder: Path, number: int, killed: Verdict | None) -> Outcome | None:
    """A refusal to run if, under Slurm, the previous attempts were killed without progress; otherwise None.

    `killed` is the verdict on the last of them.
    """
    if "SLURM_JOB_ID" not in os.environ or not is_fruitless(folder, number - 1):
        return None
    last = f"; the last one: {killed.line}" if killed else ""
    reason = f"{FRUITLESS_ATTEMPTS} attempts in a row made no progress and were killed{last}"
    return Outcome(PermanentFailure.exit_code, "refused", reason)


def judged(folder: Path, number: int, outcome: Outcome, stop_reason: str | None) -> Outcome:
    """The outcome, or a permanent failure if it is one too many failure or time limit without progress."""
    if outcome.name == "not-ready" or outcome.out_of_room or _makes_room_for_others(outcome, stop_reason):
        with best_effort("this attempt counts as one without progress"):
            leave_uncounted(folder, number)
    elif outcome.name in ("failed", "interrupted") and is_fruitless(folder, number):
        reason = f"{FRUITLESS_ATTEMPTS} attempts in a row made no progress; the last one: {outcome.reason}"
        return Outcome(PermanentFailure.exit_code, "refused", reason)
    return outcome


def _makes_room_for_others(outcome: Outcome, stop_reason: str | None) -> bool:
    return outcome.name == "interrupted" and not is_out_of_time(stop_reason)
