"""One event as one line: `<crc32 in 8 hex digits> <JSON>\\n`, and which kinds must not be lost.

The checksum covers the JSON, so that a line cut by a kill, a hole of NULs left by a crashed server or a stray write is
recognised and counted, never folded.
"""

from __future__ import annotations

from typing import Any, TypedDict
from zlib import crc32

import orjson

SCHEMA = 1
LAZY_KINDS = frozenset({"progress", "attempt.heartbeat", "energy"})
"""Superseded by their successors: synced at most once a minute. Every other kind is synced before `append` returns."""
DROPPABLE_KINDS = frozenset({"progress", "attempt.heartbeat"})
"""What a journal that cannot write gives up first."""
END_KINDS = frozenset({"attempt.ended", "stage.done", "stage.failed"})
"""What the reserve is kept for."""

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class Record(TypedDict):
    """An event. `wall_s` is seconds since the epoch, `mono_s` the writer's monotonic clock: only differences count."""

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


def encode(record: Record) -> bytes:
    """One line. NaN and infinity become null; what JSON cannot say is kept as text rather than raised at the caller."""
    try:
        payload = orjson.dumps(record, default=str, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError):
        payload = orjson.dumps(_legible(record))
    return b"%08x %b\n" % (crc32(payload), payload)


def _legible(record: Record) -> dict[str, Any]:
    """The same event with its data as one ASCII string, for what JSON has no word for (lone surrogates, 2**64...)."""
    names = {key: value.encode(errors="replace").decode() for key, value in record.items() if isinstance(value, str)}
    return {**record, **names, "data": {"unserialisable": ascii(record["data"])}}
