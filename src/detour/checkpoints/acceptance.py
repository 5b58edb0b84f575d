"""Gates that a user has overridden, stored in the folder of the promotion that they stopped. No torch here.

accepted.json: gate -> why, user, at_s. The ledger records the same, visible to all.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson

from detour.errors import UserError
from detour.files import write_atomic

ACCEPTED = "accepted.json"


def accepted_gates(folder: Path) -> dict[str, str]:
    """Return gate -> reason. Raises UserError if the file is malformed."""
    return {gate: str(entry["why"]) for gate, entry in _read(folder).items()}


def accept_gate(folder: Path, gate: str, why: str, user: str) -> None:
    accepted = _read(folder) | {gate: {"why": why, "user": user, "at_s": time.time()}}
    write_atomic(folder / ACCEPTED, orjson.dumps(accepted, option=orjson.OPT_INDENT_2))


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / ACCEPTED
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}); remove it, and override the gate again") from error
    if not isinstance(content, dict) or not all(isinstance(one, dict) and "why" in one for one in content.values()):
        raise UserError(f"{path}: not written by detour; remove it, and override the gate again")
    return content
