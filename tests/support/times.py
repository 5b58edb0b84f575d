"""Points in time, written as dates."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
