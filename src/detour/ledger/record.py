"""One event as one line, `<crc32 in 8 hex digits> <JSON>\\n`, and back.

The checksum covers the JSON, so that a line cut by a kill, a hole of NULs left by a crashed server or a stray write is
detected and counted, never folded. A good checksum does not prove the form: anyone in the group can compute one, and so
does a later version of detour. `entry_of` accepts what this version understands, and names the rest.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from itertools import product
from operator import itemgetter
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    NamedTuple,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from zlib import crc32

import orjson

from detour.ledger.events import KINDS, Event, Foreign
from detour.times import is_instant

SCHEMA = 1
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_KIND = re.compile(r"[a-z][a-z_.-]{0,40}")

_Accepts = Callable[[Any], bool]

E = TypeVar("E", bound=Event, covariant=True)


class Record(TypedDict):
    """An event in JSON. `wall_s` is seconds since the epoch; `mono_s` is monotonic, so only differences count."""

    schema: int
    wall_s: float
    mono_s: float
    writer: str
    sequence: int
    kind: str
    chain: str | None
    stage: str | None
    job: str | None
    attempt: int | None
    data: dict[str, Any]


class Entry(NamedTuple, Generic[E]):
    """An event and its place in the ledger. Of two entries of one attempt, the greater is the later."""

    sequence: int
    writer: str
    wall_s: float
    mono_s: float
    event: E
    chain: str | None = None
    stage: str | None = None
    job: str | None = None
    attempt: int | None = None


def once(entries: Iterable[Entry[E]]) -> list[Entry[E]]:
    """Each entry once, however often it was read, in each writer's order."""
    known = {(entry.writer, entry.sequence): entry for entry in entries}
    return [known[key] for key in sorted(known)]


def in_time(entry: Entry[Any]) -> tuple[float, str, int]:
    """Orders entries by wall-clock time."""
    return entry.wall_s, entry.writer, entry.sequence


def make_record(
    event: Event,
    *,
    writer: str = "",
    sequence: int = -1,
    chain: str | None = None,
    stage: str | None = None,
    job: str | None = None,
    attempt: int | None = None,
) -> Record:
    """The record of an event that happens now."""
    return {
        "schema": SCHEMA,
        "wall_s": time.time(),
        "mono_s": time.monotonic(),
        "writer": writer,
        "sequence": sequence,
        "kind": event.kind,
        "chain": chain,
        "stage": stage,
        "job": job,
        "attempt": attempt,
        "data": event.to_json(),
    }


def encode(record: Record) -> bytes:
    """Encode as one line. NaN and infinity become null; what JSON cannot represent becomes text; nothing is raised."""
    try:
        payload = orjson.dumps(record, default=str, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError):
        payload = orjson.dumps(_legible(record))
    return b"%08x %b\n" % (crc32(payload), payload)


def _legible(record: Record) -> dict[str, Any]:
    """The event with its data as one ASCII string, for what JSON cannot represent (lone surrogates, 2**64...)."""
    names = {key: value.encode(errors="replace").decode() for key, value in record.items() if isinstance(value, str)}
    return {**record, **names, "data": {"unserialisable": ascii(record["data"])}}


_new_entry = tuple.__new__
"""Builds a named tuple in half the time."""
_FIELDS = itemgetter(*Record.__annotations__)
_SHAPES = {
    (int, float, float, str, int, str, *named, dict)
    for named in product((str, NoneType), (str, NoneType), (str, NoneType), (int, NoneType))
}


def entry_of(record: object) -> Entry[Event] | None:
    """The entry in a record's JSON; None if it does not have the form of a record."""
    try:
        fields = _FIELDS(record)  # type: ignore[arg-type]
    except (TypeError, KeyError):
        return None
    schema, wall_s, mono_s, writer, sequence, kind, chain, stage, job, attempt, data = fields
    if tuple(map(type, fields)) not in _SHAPES:
        return None
    if not is_instant(wall_s) or not is_instant(mono_s):
        wall_s = mono_s = 0.0
        event: Event = Foreign(reason="with a time that no clock shows")
    else:
        event = event_of(kind, data) if schema == SCHEMA else Foreign(reason=f"of schema {schema}")
    return _new_entry(Entry, (sequence, writer, wall_s, mono_s, event, chain, stage, job, attempt))


def event_of(kind: str, data: dict[str, Any]) -> Event:
    """The event with this payload; a `Foreign` one if the kind is unknown or the payload does not fit."""
    fit = _fit(kind, tuple(data), tuple(map(type, data.values())))
    if isinstance(fit, Foreign):
        return fit
    for name, accepts in fit.nested:
        if not accepts(data[name]):
            return Foreign(reason=f"of kind {kind} with an unusable {name}")
    event = object.__new__(fit.event)  # takes half the time of the constructor
    vars(event).update({name: data[name] for name in fit.known} if fit.known else data)
    return event


class _Fit(NamedTuple):
    event: type[Event]
    nested: tuple[tuple[str, _Accepts], ...]
    """Fields still to be checked: those that are lists or objects, or have bounds."""
    known: tuple[str, ...]
    """The fields to keep if some are unknown here, otherwise empty."""


@lru_cache(maxsize=1024)
def _fit(kind: str, names: tuple[str, ...], types: tuple[type, ...]) -> _Fit | Foreign:
    """Whether the types of a payload's values fit the kind; cached, since thousands of records look alike."""
    if kind not in KINDS:
        return Foreign(reason=f"of the unknown kind {kind}" if _KIND.fullmatch(kind) else "of an unknown kind")
    fields, given = _fields(kind), dict(zip(names, types, strict=True))
    for name, field in fields.items():
        if name not in given and field.is_required:
            return Foreign(reason=f"of kind {kind} without {name}")
        if name in given and given[name] not in field.types:
            return Foreign(reason=f"of kind {kind} with an unusable {name}")
    nested = tuple(
        (name, fields[name].accepts)
        for name in names
        if name in fields and (given[name] in (list, dict) or (fields[name].is_bounded and given[name] is not NoneType))
    )
    known = tuple(name for name in names if name in fields)
    return _Fit(KINDS[kind], nested, () if len(known) == len(names) else known)


class _Field(NamedTuple):
    types: frozenset[type]
    accepts: _Accepts
    is_bounded: bool
    is_required: bool


@cache
def _fields(kind: str) -> dict[str, _Field]:
    """The fields of a kind, by name."""
    event = KINDS[kind]
    own = {name for base in event.__mro__ if base is not Event for name in vars(base).get("__annotations__", ())}
    hints = {name: hint for name, hint in _hints(event).items() if name in own}
    return {
        name: _Field(_types(hint), _accepts(hint), _is_bounded(hint), not hasattr(event, name))
        for name, hint in hints.items()
    }


def _hints(annotated: type) -> dict[str, Any]:
    return get_type_hints(annotated, include_extras=True)


def _is_bounded(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated or any(map(_is_bounded, get_args(annotation)))


def _types(annotation: Any) -> frozenset[type]:
    """Types of JSON values that the annotation allows. A whole number is also a float; a boolean is not a number."""
    if annotation is Any:
        return frozenset({NoneType, bool, int, float, str, list, dict})
    if annotation is float:
        return frozenset({float, int})
    if get_origin(annotation) is Annotated:
        return _types(annotation.__origin__)
    if get_origin(annotation) in (Union, UnionType):
        return frozenset().union(*map(_types, get_args(annotation)))
    return frozenset({dict if is_typeddict(annotation) else get_origin(annotation) or annotation})


def _accepts(annotation: Any) -> _Accepts:
    """A check that a JSON value has this type, including all its parts."""
    types, arguments = _types(annotation), get_args(annotation)
    if get_origin(annotation) is Annotated:
        plain, within = _accepts(arguments[0]), arguments[1]
        return lambda value: plain(value) and within(value)
    if get_origin(annotation) in (Union, UnionType):
        parts = [_accepts(argument) for argument in arguments]
        return lambda value: any(accepts(value) for accepts in parts)
    if is_typeddict(annotation):
        fields = {name: _accepts(hint) for name, hint in _hints(annotation).items()}
        return lambda value: (
            type(value) is dict and all(name in value and accepts(value[name]) for name, accepts in fields.items())
        )
    if get_origin(annotation) in (list, dict):
        part = arguments[-1]
        inner, of_parts = _types(part), _accepts(part)
        is_flat = inner.isdisjoint((list, dict)) and not _is_bounded(part)

        def accepts(value: Any) -> bool:
            if type(value) not in types:
                return False
            values = value.values() if type(value) is dict else value
            return inner.issuperset(map(type, values)) and (is_flat or all(map(of_parts, values)))

        return accepts
    return lambda value: type(value) in types
