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


def render_tasks(checks: Sequence[TaskCheck]) -> str:
    """One task a paragraph, in at most 100 columns."""
    lines = [line for check in checks for line in _lines(check)]
    states = Counter(check.state for check in checks)
    by_state = ", ".join(f"{states[state]} {state}" for state in ("ready", "missing", "problem") if states[state])
    return "\n".join([*lines, f"{counted(len(checks), 'task')}: {by_state or 'none'}."])


def _lines(check: TaskCheck) -> Iterator[str]:
    said = f": {check.said}" if check.state == "ready" else ""
    yield from wrapped(plain(f"{check.state} {check.task} ({check.type.replace('_', ' ')}){said}"), "")
    if check.state == "ready":
        for note in check.notes:
            yield from wrapped(plain(note), INDENT)
        return
    yield from wrapped(plain(check.said), INDENT)
    if check.state == "missing" and check.layout not in check.said:
        yield from wrapped(plain(f"put there: {check.layout}"), INDENT)
    if check.obtain:
        yield from wrapped(plain(f"from: {check.obtain}"), INDENT)
