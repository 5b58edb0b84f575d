"""Runtime values of each kind of stage, which affect only its speed and place and enter no key.

They are stored and read like settings; see `detour.planning.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from detour.config.models import Model, TaskSize, Training
from detour.planning.settings import Entry, Values


@dataclass(frozen=True)
class PrepareRuntime(Values):
    source_paths: Mapping[str, tuple[Path, ...]]
    """Source name -> its files on this machine."""
    source_bytes: int | None = None
    """Total size of the files; None if any is not on this machine."""
    tokenizer: str | None = None
    """Hub id or folder to load; None for a tokenizer that is trained."""
    tokenizer_revision: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "source_paths": {name: list(map(str, paths)) for name, paths in self.source_paths.items()},
            "source_bytes": self.source_bytes,
            "tokenizer": self.tokenizer,
            "tokenizer_revision": self.tokenizer_revision,
        }

    @classmethod
    def from_json(cls, entry: Entry) -> PrepareRuntime:
        data = entry["runtime"]
        return cls(
            source_paths={name: tuple(map(Path, paths)) for name, paths in data["source_paths"].items()},
            source_bytes=data.get("source_bytes"),
            tokenizer=data.get("tokenizer"),
            tokenizer_revision=data.get("tokenizer_revision"),
        )


@dataclass(frozen=True)
class ModelRuntime(Values):
    """What determines the model's size, for prices, and the origin of its initial weights."""

    model: Model
    vocabulary: int | None
    """Vocabulary size of the tokenizer that the recipe trains; None if the tokenizer comes with the model."""

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model.as_json, "vocabulary": self.vocabulary}


@dataclass(frozen=True)
class PretrainRuntime(ModelRuntime):
    microbatch_sequences: int | Literal["auto"]
    training: Training
    """How the training runs. Its precision affects the result and is written with the settings."""
    tokens: int
    """Tokens of all `steps`."""
    steps: int
    warmup_steps: int
    validation_tokens: int

    def to_json(self) -> dict[str, Any]:
        return {
            "microbatch_sequences": self.microbatch_sequences,
            "training": {key: value for key, value in self.training.as_json.items() if key != "precision"},
            "planned": {"tokens": self.tokens, "steps": self.steps, "warmup_steps": self.warmup_steps},
            "validation_tokens": self.validation_tokens,
            **ModelRuntime.to_json(self),
        }

    @classmethod
    def from_json(cls, entry: Entry) -> PretrainRuntime:
        data, planned = entry["runtime"], entry["runtime"]["planned"]
        microbatch = data["microbatch_sequences"]
        return cls(
            **_model(data),
            microbatch_sequences=microbatch if microbatch == "auto" else _whole(data, "microbatch_sequences"),
            training=Training.model_validate({**data["training"], "precision": entry["settings"]["precision"]}),
            tokens=_whole(planned, "tokens"),
            steps=_whole(planned, "steps"),
            warmup_steps=_whole(planned, "warmup_steps"),
            validation_tokens=_whole(data, "validation_tokens"),
        )


@dataclass(frozen=True)
class PromoteRuntime(ModelRuntime):
    validation_tokens: int
    probe: EvaluateRuntime | None = None

    def to_json(self) -> dict[str, Any]:
        probe = {} if self.probe is None else {"probe": self.probe.to_json()}
        return {"validation_tokens": self.validation_tokens, **probe, **ModelRuntime.to_json(self)}

    @classmethod
    def from_json(cls, entry: Entry) -> PromoteRuntime:
        data = entry["runtime"]
        probe = EvaluateRuntime.from_json({"runtime": data["probe"]}) if "probe" in data else None
        return cls(**_model(data), validation_tokens=_whole(data, "validation_tokens"), probe=probe)


@dataclass(frozen=True)
class ExportRuntime(ModelRuntime):
    @classmethod
    def from_json(cls, entry: Entry) -> ExportRuntime:
        return cls(**_model(entry["runtime"]))


@dataclass(frozen=True)
class EvaluateRuntime(ModelRuntime):
    paths: tuple[Path, ...]
    """The task's files on this machine."""
    documents: TaskSize | None
    """Number of documents of the task, if published."""

    def to_json(self) -> dict[str, Any]:
        return {
            "paths": list(map(str, self.paths)),
            "documents": self.documents and self.documents.as_json,
            **ModelRuntime.to_json(self),
        }

    @classmethod
    def from_json(cls, entry: Entry) -> EvaluateRuntime:
        data = entry["runtime"]
        documents = data.get("documents")
        return cls(
            **_model(data),
            paths=tuple(map(Path, data["paths"])),
            documents=documents and TaskSize.model_validate(documents),
        )


@dataclass(frozen=True)
class SummarizeRuntime(Values):
    def to_json(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_json(cls, entry: Entry) -> SummarizeRuntime:  # noqa: ARG003
        return cls()


Runtime = PrepareRuntime | PretrainRuntime | PromoteRuntime | ExportRuntime | EvaluateRuntime | SummarizeRuntime


def _model(runtime: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary = None if runtime.get("vocabulary") is None else _whole(runtime, "vocabulary")
    return {"model": Model.model_validate(runtime["model"]), "vocabulary": vocabulary}


def _whole(runtime: Mapping[str, Any], name: str) -> int:
    """Read a whole number. Runtime values enter no key, so only this check detects an edit."""
    value = runtime[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError(f"{name} is {value!r}, expected a whole number")
    return value
