"""Which step or job a text is about: an out-of-memory flag of another step or job ended nothing."""

from __future__ import annotations

import re

from detour.diagnosis.evidence import Evidence, SlurmRow

_STEP = re.compile(r"\b(?:StepId=|step |STEP |sacct )\d+(?:_\d+)?(?:\+\d+)?\.(?P<step>\w+)")
_JOB = re.compile(r"(?:StepId=|\*\*\* (?:JOB|STEP) )(?P<job>\d+)")
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


def of_another_job(text: str, evidence: Evidence) -> bool:
    """Whether `text` names another job, in a log that elsewhere names this one.

    Otherwise an unknown id may be its own: slurmstepd calls an array task by another id than sacct does.
    """
    match = _JOB.search(text)
    known = {row.id for row in evidence.job_rows}
    if match is None or match["job"] in known:
        return False
    named = (_JOB.search(line) for line in evidence.log or ())
    return any(one["job"] in known for one in named if one)


def _failed_by_itself(row: SlurmRow) -> bool:
    return row.get("State").startswith("FAILED") and not _is_killed(row)


def _is_killed(row: SlurmRow) -> bool:
    return row.get("State").startswith("OUT_OF_ME") or row.get("ExitCode") in _KILLED
