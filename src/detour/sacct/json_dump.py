"""Convert dumps of `sacct --json` to records with the columns of its text output.

Versions differ: up to 22.05, a number is a number and a state is a word; from 23.02, a number may be `{"set": true,
"infinite": false, "number": 60}` and a state a list of words. Exit codes are omitted: those of 22.05 are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

_COLUMNS = """JobID JobIDRaw JobName User Account Partition QOS Cluster State Submit Eligible Start End ElapsedRaw
    Suspended TimelimitRaw NodeList NNodes AllocTRES ReqTRES Comment Reason"""
HEADER = _COLUMNS.split()


def json_records(text: str) -> list[Sequence[str]]:
    """Return the cells of each job, as in HEADER. Raises ValueError for text that `sacct --json` did not print."""
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"cannot be read as JSON: {error}") from None
    jobs = content.get("jobs") if isinstance(content, dict) else None
    if not isinstance(jobs, list) or not all(isinstance(job, dict) and "time" in job for job in jobs):
        raise ValueError("is JSON, but holds no jobs with their times, as `sacct --json` prints them")
    return [list(map(_text, _cells(job))) for job in jobs]


def _cells(job: Mapping[str, Any]) -> Iterator[object]:
    """Yield the values of a job in the order of HEADER."""
    time, association, state = _part(job, "time"), _part(job, "association"), _part(job, "state")
    tres = _part(job, "tres")
    yield _shown_id(job)
    yield job.get("job_id")
    yield job.get("name")
    yield job.get("user") or association.get("user")
    yield from (job.get(name) for name in ("account", "partition", "qos"))
    yield job.get("cluster") or association.get("cluster")
    yield _first(state.get("current"))
    yield from (time.get(name) for name in ("submission", "eligible", "start", "end", "elapsed", "suspended"))
    yield _number(time.get("limit"))
    yield job.get("nodes")
    yield job.get("allocation_nodes")
    yield from (_tres(tres.get(name)) for name in ("allocated", "requested"))
    yield _part(job, "comment").get("job")
    yield state.get("reason")


def _shown_id(job: Mapping[str, Any]) -> str:
    """Return the id as in sacct's text output: `17_3`, `17_[4-6%2]`, `17+1`."""
    array, het = _part(job, "array"), _part(job, "het")
    if array_id := _number(array.get("job_id")):
        task = _number(array.get("task_id"))
        if task is not None:
            return f"{array_id}_{task}"
        return f"{array_id}_[{array['task']}]" if array.get("task") else f"{job.get('job_id')}"
    if het_id := _number(het.get("job_id")):
        return f"{het_id}+{_number(het.get('job_offset')) or 0}"
    return f"{job.get('job_id')}"


def _tres(listed: object) -> str:
    """Format a list of types, names and counts as `cpu=8,gres/gpu:a100=4`."""
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return ",".join(
        f"{row.get('type')}{'/' if row.get('name') else ''}{row.get('name') or ''}={count}"
        for row in rows
        if isinstance(count := _number(row.get("count")), int) and count >= 0
    )


def _part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = of.get(name)
    return part if isinstance(part, dict) else {}


def _first(value: object) -> object:
    return next(iter(value), None) if isinstance(value, list) else value


def _number(value: object) -> object:
    """Return a plain value, or the number of an object if it is set and finite."""
    if isinstance(value, dict):
        return value.get("number") if value.get("set") and not value.get("infinite") else None
    return value


def _text(value: object) -> str:
    value = _number(value)
    return "" if value is None else str(value)
