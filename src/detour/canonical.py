"""Canonical JSON and its digest, and careful reading of JSON that users provide."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def canonical(value: Any) -> bytes:
    """Return the same bytes for equal JSON values, independent of dict order and machine.

    Raises ValueError for NaN and infinity, TypeError for values that JSON does not support.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest(value: Any) -> str:
    """Return the SHA-256 of `canonical`, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def read_once(text: str) -> Any:
    """Parse JSON text. Raises ValueError if it is invalid or an object repeats a key, which parsers silently accept."""
    try:
        return json.loads(text, object_pairs_hook=_with_each_key_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := first_repeated(key for key, _ in pairs)) is not None:
        raise ValueError(f"the key {twice[:60]!r} appears twice in one object: keep one of them")
    return dict(pairs)


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs a second time, None if all are unique."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def at(content: Any, *keys: str) -> Any:
    """Return the value at nested keys of parsed JSON; None if a key is missing or its parent is not a mapping."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content
