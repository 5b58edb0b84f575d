"""Which of a job's steps did the work: an out-of-memory flag of another step ended nothing."""

from __future__ import annotations

import re

from detour.diagnosis.evidence import Evidence, Row

_STEP = re.compile(r"\b(?:StepId=|step |STEP |sacct )\d+(?:_\d+)?(?:\+\d+)?\.(?P<step>\w+)")
_KILLED = ("0:125", "0:9", "137:0", "9:0")


def of_another_step(text: str, evidence: Evidence) -> bool:
    """Whether what `text` says about a step cannot have ended the work, because it is about another one.

    So too sacct's text about the job, whose flag may come from any step. A text that names no step may be about any.
    """
    match = _STEP.search(text)
    named = match["step"] if match else None
    if named is None and not text.startswith("sacct "):
        return False
    steps = {row.step: row for row in evidence.step_rows}
    work = [row for step, row in steps.items() if step and step.isdecimal()] or [
        row for step, row in steps.items() if step == "batch"
    ]
    if named == "extern":
        return True
    if named in steps and steps[named].get("State").startswith("COMPLETED"):
        return True
    if (named and named not in steps) or not work or not _failed_by_itself(work[-1]):
        return False
    return named != work[-1].step


def _failed_by_itself(row: Row) -> bool:
    return row.get("State").startswith("FAILED") and not _is_killed(row)


def _is_killed(row: Row) -> bool:
    return row.get("State").startswith("OUT_OF_ME") or row.get("ExitCode") in _KILLED
