"""The tasks of a benchmark: what is ready, and what to put where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from detour.doctor.tasks import TaskCheck
from detour.text import counted, plain, wrapped

INDENT = "  "


def tasks_json(checks: Sequence[TaskCheck]) -> dict[str, object]:
    return {"tasks": [asdict(check) for check in checks], "ready": all(check.state == "ready" for check in checks)}


def render_tasks(checks: Sequence[TaskCheck], width: int) -> str:
    """One paragraph per task."""
    lines = [line for check in checks for line in _lines(check, width)]
    states = Counter(check.state for check in checks)
    by_state = ", ".join(f"{states[state]} {state}" for state in ("ready", "missing", "problem") if states[state])
    return "\n".join([*lines, f"{counted(len(checks), 'task')}: {by_state or 'none'}."])


def _lines(check: TaskCheck, width: int) -> Iterator[str]:
    said = f": {check.said}" if check.state == "ready" else ""
    yield from wrapped(plain(f"{check.state} {check.task} ({check.type.replace('_', ' ')}){said}"), "", width)
    if check.state == "ready":
        for note in check.notes:
            yield from wrapped(plain(note), INDENT, width)
        return
    yield from wrapped(plain(check.said), INDENT, width)
    if check.state == "missing" and check.layout not in check.said:
        yield from wrapped(plain(f"put there: {check.layout}"), INDENT, width)
    if check.obtain:
        yield from wrapped(plain(f"from: {check.obtain}"), INDENT, width)
