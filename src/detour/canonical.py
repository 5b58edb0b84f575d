"""One byte string for equal JSON values, the digest by which equal content is recognised, and JSON that people give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def canonical(value: Any) -> bytes:
    """The same bytes for equal JSON values, whatever the dict order or the machine.

    Raises ValueError for NaN and infinity, TypeError for what JSON does not know.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of `canonical`, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def read_once(text: str) -> Any:
    """The value of JSON text in which no object has a key twice: parsers silently take the last.

    Raises ValueError for that, and for what is no JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_with_each_key_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := first_repeated(key for key, _ in pairs)) is not None:
        raise ValueError(f"the key {twice[:60]!r} is there twice in one object: keep one of them")
    return dict(pairs)


def first_repeated(names: Iterable[str]) -> str | None:
    """The first that is there a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def at(content: Any, *keys: str) -> Any:
    """What stands under these keys of read JSON, one within the other; None where one is no mapping or has it not."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content
