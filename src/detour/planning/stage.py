"""The stage, a unit of work, and its key.

A key is the SHA-256 of a stage's kind, its result-determining settings and its inputs' keys, in canonical JSON. Names,
clusters, wall time, GPU counts and microbatches are not part of it, so equal work is recognised across chains, days and
users. The code version is provenance: recorded with the result, not part of the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal

import orjson
from pydantic import ValidationError

from detour.canonical import digest
from detour.planning.runtime import (
    EvaluateRuntime,
    ExportRuntime,
    PrepareRuntime,
    PretrainRuntime,
    PromoteRuntime,
    Runtime,
    SummarizeRuntime,
)
from detour.planning.settings import (
    Entry,
    EvaluateSettings,
    ExportSettings,
    PrepareSettings,
    PretrainSettings,
    PromoteSettings,
    Settings,
    SummarizeSettings,
)
from detour.text import stage_label

StageKind = Literal["prepare", "pretrain", "promote", "export", "evaluate", "summarize"]
KEY_LENGTH = 16
PARTS_KEPT = 2048
"""Number of stage parts to cache when reading: more than the chains of any sweep share, in a few megabytes."""


def stage_key(kind: str, settings_digest: str, inputs: Mapping[str, str]) -> str:
    """Return the first 64 bits of the hash, in hex; `inputs` maps role to stage id.

    Hashes `canonical([kind, settings_digest, inputs])`. All strings are ASCII, for which orjson yields the same bytes
    faster.
    """
    content = orjson.dumps((kind, settings_digest, inputs), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True, slots=True)
class Stage:
    """One node of a plan; immutable and JSON round-trippable (`to_json`, `from_json`). Each kind has its own class."""

    settings: Settings
    """Values that determine the result."""
    inputs: Mapping[str, str]
    """Role -> id of the stage whose output is read."""
    runtime: Runtime
    """Values that affect speed or place, never the result."""
    key: str = ""
    """Computed if left empty."""
    id: str = field(init=False, repr=False, compare=False)
    """`<kind>-<key>`; stored, because planning reads it many times."""
    kind: ClassVar[StageKind]

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", stage_key(self.kind, self.settings.digest, self.inputs))
        object.__setattr__(self, "id", f"{self.kind}-{self.key}")

    @property
    def name(self) -> str:
        """Name without the seed: `prepare`, `pretrain clm`, `evaluate icd10-chapter`."""
        return self.kind

    @property
    def label(self) -> str:
        """Name with the seed, if there is one; unique within a chain."""
        return self.name

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "key": self.key,
            "label": self.label,
            "settings": self.settings.to_json(),
            "inputs": dict(self.inputs),
            "runtime": self.runtime.to_json(),
        }

    @staticmethod
    def from_json(entry: Entry) -> Stage:
        """Raises ValueError if the key does not match the settings; KeyError, TypeError or ValueError if malformed."""
        kind, key, inputs = entry["kind"], entry["key"], entry["inputs"]
        hashed = stage_key(kind, _digest(orjson.dumps(entry["settings"])), inputs)
        if hashed != key:
            raise ValueError(f"{kind}-{key}: its settings hash to {hashed}: they were edited")
        if kind not in _KINDS:
            raise ValueError(f"{kind!r} is not a kind of stage")
        try:
            settings, runtime = _parts(kind, orjson.dumps({name: entry[name] for name in _READ}))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{kind}-{key}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        except AttributeError as error:
            raise TypeError(f"{kind}-{key}: a list or a value where a mapping is expected ({error})") from error
        stage: Stage = _KINDS[kind][0](settings, inputs, runtime, key)
        return stage


@dataclass(frozen=True, slots=True)
class PrepareStage(Stage):
    settings: PrepareSettings
    runtime: PrepareRuntime
    kind: ClassVar[StageKind] = "prepare"


@dataclass(frozen=True, slots=True)
class _PhaseStage(Stage):
    settings: PretrainSettings | PromoteSettings

    @property
    def phase(self) -> str:
        """Name of the phase in the recipe."""
        return self.settings.phase.name

    @property
    def name(self) -> str:
        return f"{self.kind} {self.phase}"


@dataclass(frozen=True, slots=True)
class PretrainStage(_PhaseStage):
    settings: PretrainSettings
    runtime: PretrainRuntime
    kind: ClassVar[StageKind] = "pretrain"


@dataclass(frozen=True, slots=True)
class PromoteStage(_PhaseStage):
    settings: PromoteSettings
    runtime: PromoteRuntime
    kind: ClassVar[StageKind] = "promote"


@dataclass(frozen=True, slots=True)
class ExportStage(Stage):
    settings: ExportSettings
    runtime: ExportRuntime
    kind: ClassVar[StageKind] = "export"


@dataclass(frozen=True, slots=True)
class EvaluateStage(Stage):
    settings: EvaluateSettings
    runtime: EvaluateRuntime
    kind: ClassVar[StageKind] = "evaluate"

    @property
    def task(self) -> str:
        return self.settings.task.name

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def name(self) -> str:
        return f"{self.kind} {self.task}"

    @property
    def label(self) -> str:
        return stage_label(self.name, self.seed)


@dataclass(frozen=True, slots=True)
class SummarizeStage(Stage):
    settings: SummarizeSettings
    runtime: SummarizeRuntime
    kind: ClassVar[StageKind] = "summarize"


_KINDS: Mapping[str, tuple[Any, Any, Any]] = {
    "prepare": (PrepareStage, PrepareSettings, PrepareRuntime),
    "pretrain": (PretrainStage, PretrainSettings, PretrainRuntime),
    "promote": (PromoteStage, PromoteSettings, PromoteRuntime),
    "export": (ExportStage, ExportSettings, ExportRuntime),
    "evaluate": (EvaluateStage, EvaluateSettings, EvaluateRuntime),
    "summarize": (SummarizeStage, SummarizeSettings, SummarizeRuntime),
}


_READ = ("label", "settings", "runtime")


@lru_cache(maxsize=PARTS_KEPT)
def _digest(settings: bytes) -> str:
    return digest(orjson.loads(settings))


@lru_cache(maxsize=PARTS_KEPT)
def _parts(kind: str, written: bytes) -> tuple[Settings, Runtime]:
    """Parse settings and runtime of an entry's JSON; cached, because the chains of a sweep share most of them."""
    _, settings, runtime = _KINDS[kind]
    entry = orjson.loads(written)
    return settings.from_json(entry), runtime.from_json(entry)
