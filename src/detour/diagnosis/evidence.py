"""What is known about one job to be diagnosed: Slurm's rows, the end of its logs, its events in the ledger.

Each source may be unreadable, which is not the same as empty: `None`, with a reason in `unreadable`. The bundle is its
JSON form, for a support ticket and for `detour why --from`:

    {"schema": 1, "job": ..., "sacct": [row, ...], "squeue": row, "log_tail": [line, ...],
     "events": [{"kind": ..., "wall_s": ..., "attempt": ..., "data": {...}}, ...], "unreadable": {source: why}}

A row has Slurm's own field names. `squeue` is null for a job that has left the queue; so is `sacct` for a stage that no
job in Slurm has run, whose `job` is null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from detour.errors import UserError
from detour.times import is_instant

SCHEMA = 1
SOURCES = ("sacct", "squeue", "log_tail", "events")
_STEP = re.compile(r"^(?P<job>[^.]+)\.(?P<step>\w+)$")
_MEMORY = re.compile(r"^(?P<figure>\d+(\.\d+)?)(?P<unit>[KMGTP]?)n?$")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_MOST_BYTES = 2.0**60
"""An exabyte, which no job has."""


@dataclass(frozen=True, slots=True)
class SlurmRow:
    """A line of sacct or squeue: Slurm's field names, as spelled by the site's version."""

    fields: Mapping[str, str]

    def get(self, *names: str) -> str:
        """The first of these fields that is not empty; names are compared without case."""
        return next((value for name in names if (value := self.named(name)[1])), "")

    def named(self, *names: str) -> tuple[str, str]:
        """The same, with the name as spelled in the row."""
        lowered = {name.lower(): (name, value) for name, value in self.fields.items()}
        found = (lowered.get(name.lower(), ("", "")) for name in names)
        return next((pair for pair in found if pair[1]), (names[0], ""))

    @property
    def id(self) -> str:
        return self.get("JobID", "job", "id", "JOBID", "job_id")

    @property
    def state(self) -> str:
        """Slurm's word, without the user in `CANCELLED by 1000`."""
        return self.get("State").split(" ")[0]

    @property
    def step(self) -> str | None:
        """`batch`, `extern`, `0`; None for the row of the whole job."""
        match = _STEP.match(self.id)
        return match["step"] if match else None


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """An event of the ledger, with its payload."""

    kind: str
    wall_s: float | None = None
    attempt: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    sacct: tuple[SlurmRow, ...] | None = None
    squeue: SlurmRow | None = None
    log: tuple[str, ...] | None = None
    """The last lines, standard output and error together, as written."""
    events: tuple[LedgerEvent, ...] | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Source -> why it could not be read."""
    job: str | None = None

    @property
    def job_rows(self) -> tuple[SlurmRow, ...]:
        """One per run: a requeued job has several."""
        return tuple(row for row in self.sacct or () if row.step is None)

    @property
    def last_run(self) -> SlurmRow | None:
        return next(reversed(self.job_rows), None)

    @property
    def step_rows(self) -> tuple[SlurmRow, ...]:
        return tuple(row for row in self.sacct or () if row.step is not None)

    @property
    def memory_share(self) -> float | None:
        """The largest memory of a step's task as a share of the memory requested; None if either is not recorded."""
        asked = max((memory_bytes(row.get("ReqMem")) or 0 for row in self.job_rows), default=0)
        held = max((memory_bytes(row.get("MaxRSS")) or 0 for row in self.step_rows), default=0)
        return held / asked if asked and held else None

    def last(self, *kinds: str) -> LedgerEvent | None:
        return next((event for event in reversed(self.events or ()) if event.kind in kinds), None)


def memory_bytes(text: str) -> int | None:
    """`200G`, `208911432K`, `4000Mn`; None for what is not an amount, and for `4000Mc`, a CPU's."""
    match = _MEMORY.match(text.strip())
    amount = float(match["figure"]) * _UNITS[match["unit"]] if match else _MOST_BYTES
    return int(amount) if amount < _MOST_BYTES else None


def read_bundle(content: Any, name: str) -> Evidence:
    """The evidence in a bundle's JSON. Raises UserError that names the key and what was expected."""
    if not isinstance(content, dict) or not any(source in content for source in (*SOURCES, "log")):
        raise UserError(f"{name}: not a bundle: expected an object with {', '.join(SOURCES)}")
    unreadable = _unreadable(content)
    sacct = _list(content.get("sacct"), name, "sacct")
    events = _list(content.get("events"), name, "events")
    squeue = content.get("squeue")
    if isinstance(squeue, list):
        squeue = squeue[-1] if squeue else None
    return Evidence(
        sacct=None if sacct is None else tuple(_row(row, name, "sacct") for row in sacct),
        squeue=_row(squeue, name, "squeue") if squeue and "squeue" not in unreadable else None,
        log=_lines(content, name),
        events=None if events is None else tuple(_event(event, name) for event in events),
        unreadable=unreadable,
        job=str(content["job"]) if content.get("job") else None,
    )


def _unreadable(content: Mapping[str, Any]) -> dict[str, str]:
    said = content.get("unreadable")
    found = {str(key): str(why) for key, why in said.items()} if isinstance(said, dict) else {}
    if isinstance(said, list):
        found = {str(key): "unreadable" for key in said}
    expected = {"log_tail", "events"} if content.get("job", "unknown") is None else {"sacct", "log_tail", "events"}
    for source in SOURCES:
        value = content.get(source)
        if isinstance(value, dict) and (why := value.get("unreadable") or value.get("error")):
            found[source] = str(why)
        elif source in expected and value is None and source not in found:
            found[source] = "not in the bundle"
    if "log" in content:
        found.pop("log_tail", None)
    return found


def _list(value: Any, name: str, key: str) -> list[Any] | None:
    if value is None or (isinstance(value, dict) and ("unreadable" in value or "error" in value)):
        return None
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise UserError(f"{name}: {key}: expected a list, or null where it could not be read")
    return value


def _lines(content: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The log, which may also be a text or lists by stream; standard error last, since it has the end."""
    value = content.get("log_tail", content.get("log"))
    if isinstance(value, dict) and not ("unreadable" in value or "error" in value):
        streams = sorted(value, key=lambda stream: "err" in str(stream).lower())
        return tuple(line for stream in streams for line in _text_lines(value[stream], name))
    return None if value is None or isinstance(value, dict) else _text_lines(value, name)


def _text_lines(value: Any, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.splitlines())
    if not isinstance(value, list):
        raise UserError(f"{name}: log_tail: expected a list of lines, or null where it could not be read")
    return tuple(str(line) for line in value)


def _row(value: Any, name: str, key: str) -> SlurmRow:
    if not isinstance(value, dict):
        raise UserError(f"{name}: {key}: expected an object of Slurm's fields for each row")
    return SlurmRow({str(field): "" if text is None else str(text) for field, text in value.items()})


def _event(value: Any, name: str) -> LedgerEvent:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise UserError(f"{name}: events: expected objects with kind, wall_s, attempt, data")
    data, wall_s, attempt = value.get("data"), value.get("wall_s"), value.get("attempt")
    return LedgerEvent(
        value["kind"],
        float(wall_s) if isinstance(wall_s, int | float) and is_instant(wall_s) else None,
        attempt if isinstance(attempt, int) else None,
        data if isinstance(data, dict) else {},
    )


def to_bundle(evidence: Evidence) -> dict[str, Any]:
    """Plain values for JSON, from which `read_bundle` restores the evidence."""
    return {
        "schema": SCHEMA,
        "job": evidence.job,
        "sacct": None if evidence.sacct is None else [dict(row.fields) for row in evidence.sacct],
        "squeue": None if evidence.squeue is None else dict(evidence.squeue.fields),
        "log_tail": None if evidence.log is None else list(evidence.log),
        "events": None if evidence.events is None else [asdict(event) for event in evidence.events],
        "unreadable": dict(evidence.unreadable),
    }
