"""Parse times, as printed by sacct and public data sets of job records, into seconds since the epoch."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from detour.sacct.values import unknown
from detour.times import is_instant

_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z| ?[+-]\d\d:?\d\d| ?UTC)?$")
_MINUTES_S = {f"{mark}{at // 60:02d}:{at % 60:02d}": at * 60 for mark in "T " for at in range(1440)}
_SECONDS_S = {f":{second:02d}": second for second in range(60)}
_NO_YEAR = re.compile(r"\d\d/\d\d-\d\d:\d\d:\d\d$")
_EPOCH_FORM = "%s"
"""Format of seconds since the epoch, which strptime does not support."""
_DAY_S = 86_400
"""Times within a day of the epoch stand for a missing time: databases use the epoch itself, in any zone."""
_MILLISECONDS = 1e11
"""Times since the epoch above this are in milliseconds: in seconds it would be the year 5138."""


def time_parser(zone: tzinfo, form: str | None = None, *, later: bool = False) -> Callable[[str], float | None]:
    """Return a parser of times: ISO with an offset or in `zone`, seconds or milliseconds since the epoch, or `form`.

    `form` is a format of strptime. In the hour that a clock repeats in autumn, a time without an offset is taken as the
    first one, or the second if `later`.
    """
    form = None if form == _EPOCH_FORM else form
    clock = _Clock(zone, form, int(later))
    midnights: dict[str, float] = {}

    def parse(text: str) -> float | None:
        try:
            return midnights[text[:10]] + _MINUTES_S[text[10:16]] + _SECONDS_S[text[16:]]
        except KeyError:
            return learn(text)

    def learn(text: str) -> float | None:
        seconds = _parse_time_s(text, clock)
        if form is None and seconds is not None and _ISO.match(text):
            midnight_s = _even_midnight_s(text[:10], zone)
            if midnight_s is not None:
                midnights[text[:10]] = midnight_s
        return seconds

    return parse


class _Clock(NamedTuple):
    zone: tzinfo
    form: str | None
    fold: int
    """As in `datetime`."""


def _even_midnight_s(day: str, zone: tzinfo) -> float | None:
    """Return the start of a day without a clock change, None for any other."""
    start = datetime.fromisoformat(day).replace(tzinfo=zone)
    same = start.utcoffset() == (start + timedelta(days=1)).utcoffset()
    return int(start.timestamp()) if same else None


def _parse_time_s(text: str, clock: _Clock) -> float | None:
    if unknown(text):
        return None
    seconds = _unbounded_s(text, clock)
    if -_DAY_S < seconds <= 0:
        return None
    if not is_instant(seconds):
        raise ValueError("a time between 1970 and 2100")
    return int(seconds) if seconds == int(seconds) else seconds


def _unbounded_s(text: str, clock: _Clock) -> float:
    if clock.form is not None:
        return _formed_s(text, clock.form, clock)
    try:
        number = float(text)
    except ValueError:
        number = None
    if number is not None:
        return number / 1000 if abs(number) >= _MILLISECONDS else number
    if _NO_YEAR.match(text):
        raise ValueError("a time with its year: set SLURM_TIME_FORMAT=standard when making the dump")
    if not _ISO.match(text):
        raise ValueError("a time, such as 2026-03-01T12:00:00 or seconds since the epoch; others with a time format")
    spelled = text[:10] + text[10:].replace(",", ".").replace("UTC", "+00:00").replace(" +", "+").replace(" -", "-")
    return _seconds(datetime.fromisoformat(spelled), clock)


def _formed_s(text: str, form: str, clock: _Clock) -> float:
    try:
        return _seconds(datetime.strptime(text, form), clock)  # noqa: DTZ007  the zone is added
    except (ValueError, re.error):  # the latter if the form contains a directive twice
        raise ValueError(f"a time of the form {form!r}") from None


def _seconds(stamp: datetime, clock: _Clock) -> float:
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=clock.zone, fold=clock.fold)).timestamp()
