"""Parse the options of `detour usage` into values for a `Question` and a `Dialect`. All raise UserError."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

from detour.errors import UserError
from detour.sacct.columns import FIELDS, LAYOUTS
from detour.text import suggestion
from detour.usage.tally import DIMENSIONS, PERIODS

ALL_NAMES = (*PERIODS, *DIMENSIONS)
ALSO = {"queue": "partition", "project": "account", "size": "gpus"}
"""Other centres' names of dimensions."""


def tables_of(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Parse tables: `month,user` are two; `month+user` is one, with a line for each user and month."""
    tables = [tuple(map(_name, text.split("+"))) for one in texts for text in one.split(",")]
    for name in (name for names in tables for name in names):
        if name not in ALL_NAMES:
            raise UserError(f"no table by {name!r}{suggestion(name, sorted(ALL_NAMES))}")
    return tuple(dict.fromkeys(tables))


def chosen_columns(texts: Iterable[str]) -> Mapping[str, str]:
    """Parse `user=Owner`: our field -> the column that holds it."""
    return _pairs(texts, FIELDS, "a field")


def only_of(texts: Iterable[str]) -> Mapping[str, str]:
    """Parse `user=ada`: dimension -> the value that rows must have."""
    return {_name(name): value for name, value in _pairs(texts, (*DIMENSIONS, *ALSO), "a dimension").items()}


def header_of(text: str | None) -> Sequence[str] | None:
    """Parse column names, or the name of a known layout."""
    if text is None:
        return None
    return LAYOUTS.get(text) or [name.strip() for name in text.replace("|", ",").split(",")]


def bounds_s(since: str | None, until: str | None, zone: tzinfo) -> tuple[float | None, float | None]:
    """Parse the ends of a period in `zone`; a day, `2026-03` or `2026` is part of it, as in a report."""
    since_s, until_s = _ends_s(since, zone)[0], _ends_s(until, zone)[1]
    if since_s is not None and until_s is not None and until_s <= since_s:
        raise UserError(f"--until {until} is not after --since {since}")
    return since_s, until_s


def _ends_s(text: str | None, zone: tzinfo) -> tuple[float | None, float | None]:
    """Return the beginning and end of a day, month or year; both are an instant that is given with its time."""
    if text is None:
        return None, None
    try:
        first = datetime.fromisoformat({4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text))
        first = first if first.tzinfo else first.replace(tzinfo=zone)
        return first.timestamp(), _end(first, len(text)).timestamp()
    except (ValueError, OverflowError):
        raise UserError(f"no date {text!r}: expected 2026-03-01, 2026-03, 2026 or 2026-03-01T12:00") from None


def _end(first: datetime, length: int) -> datetime:
    """Return the end of what begins then and was written with so many letters."""
    if length == len("2026"):
        return first.replace(year=first.year + 1)
    if length == len("2026-03"):
        return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first + timedelta(days=1) if length <= len("2026-03-01") else first


def _name(text: str) -> str:
    name = text.strip().lower()
    return ALSO.get(name, name)


def _pairs(texts: Iterable[str], known: Sequence[str], what: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UserError(f"{text!r}: expected {what}, =, and its value; there are {', '.join(known)}")
        pairs[key] = value
    return pairs
