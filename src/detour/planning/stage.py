"""The unit of work: what determines its result, and the key that stands for it.

A key is the SHA-256 of a stage's kind, its result-determining settings and its inputs' keys, in canonical
JSON. Names, clusters, wall time, GPU counts and microbatches are no part of it, so equal work is recognised across
chains, days and users. The code's version is provenance: recorded with the result, not part of the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

StageKind = Literal["prepare", "pretrain", "promote", "export", "evaluate", "summarize"]
KEY_LENGTH = 16


def canonical(value: Any) -> bytes:
    """One byte string for equal JSON values, whatever the dict order or the machine.

    Raises ValueError for NaN and infinity, TypeError for what JSON does not know.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def settings_digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(settings)).hexdigest()


def stage_key(kind: str, digest: str, inputs: Mapping[str, str]) -> str:
    """First 64 bits, in hex; `digest` is the `settings_digest`, `inputs` maps role to stage id.

    Hashes `canonical([kind, digest, inputs])`; of ASCII strings, which all of them are, orjson makes the same bytes,
    and sooner.
    """
    return hashlib.sha256(orjson.dumps((kind, digest, inputs), option=orjson.OPT_SORT_KEYS)).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True, slots=True)
class Stage:
    """One node of a plan; immutable and JSON round-trippable (`to_json`, `from_json`)."""

    kind: StageKind
    label: str
    """What people read, unique within a chain: `pretrain clm`, `evaluate icd10-chapter seed 42`."""
    settings: Mapping[str, Any]
    """JSON values that determine the result."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Role -> id of the stage whose output is read."""
    runtime: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that change speed or place, never the result."""
    key: str = ""
    """Left empty, it is computed."""
    id: str = field(init=False, repr=False, compare=False)
    """`<kind>-<key>`; kept, because a plan asks for it many times."""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", stage_key(self.kind, settings_digest(self.settings), self.inputs))
        object.__setattr__(self, "id", f"{self.kind}-{self.key}")

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "key": self.key,
            "label": self.label,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
            "runtime": dict(self.runtime),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stage:
        """Raises ValueError when the recorded key is not the key of the recorded settings."""
        stage = cls(data["kind"], data["label"], data["settings"], data["inputs"], data["runtime"])
        if stage.key != data["key"]:
            raise ValueError(f"{data['kind']}-{data['key']}: its settings hash to {stage.key}: they were edited")
        return stage
