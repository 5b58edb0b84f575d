"""One byte string for equal JSON values, and the digest by which equal content is recognised."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """The same bytes for equal JSON values, whatever the dict order or the machine.

    Raises ValueError for NaN and infinity, TypeError for what JSON does not know.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of `canonical`, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def at(content: Any, *keys: str) -> Any:
    """What stands under these keys of read JSON, one within the other; None where one is no mapping or has it not."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content
