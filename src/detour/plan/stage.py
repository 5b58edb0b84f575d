"""The unit of work: what determines its result, and the key that stands for it.

A key is the SHA-256 of a stage's kind, its result-determining settings and its inputs' keys, in a canonical JSON form.
Names, clusters, wall time, GPU counts and microbatches are no part of it, so equal work is recognised across chains, days
and users. The code's version is provenance: recorded with the result and compared, but not part of the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StageKind = Literal["prepare", "pretrain", "promote", "export", "evaluate", "summarize"]
KEY_LENGTH = 16


def stage_key(kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """First 64 bits, in hex, of the digest over canonical JSON: equal on every machine, whatever the dict order."""
    canonical = json.dumps(
        [kind, settings, inputs], sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]


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

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", stage_key(self.kind, self.settings, self.inputs))

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.key}"

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
            raise ValueError(
                f"{data['kind']}-{data['key']}: the settings on disk hash to {stage.key}; they were edited"
            )
        return stage
