"""Settings and runtime values of each kind of stage: settings determine its result, runtime values its speed and place.

Sections of a recipe (`detour.config.models`) are typed already and are used unchanged. Only the pairs of `to_json` and
`from_json`, here and in `detour.planning.origins`, know how stage.json and plan.json store these values. Settings omit
everything that does not affect the result, because their digest determines the stage's key. `from_json` takes a stage's
whole entry and raises KeyError, TypeError or ValueError if it cannot read it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from detour.canonical import digest
from detour.config.models import (
    Equivalence,
    Model,
    Optimizer,
    Phase,
    Seeds,
    Task,
    TaskSize,
    Tokenizer,
    TokenizerTraining,
    Training,
)
from detour.config.training import Precision
from detour.planning.origins import (
    FileContent,
    Folder,
    Published,
    RandomWeights,
    SourceSettings,
    files_json,
    files_of,
    origin_of,
    placeless_json,
)

Entry = Mapping[str, Any]
"""A stage as JSON values: kind, key, label, settings, inputs, runtime."""


class _Values(ABC):
    @abstractmethod
    def to_json(self) -> dict[str, Any]: ...

    @cached_property
    def digest(self) -> str:
        """A digest that is equal for equal JSON values; that of the settings enters the stage's key."""
        return digest(self.to_json())


@dataclass(frozen=True)
class PrepareSettings(_Values):
    sources: tuple[SourceSettings, ...]
    tokenizer: Published | Folder | Tokenizer
    """A `Tokenizer` is trained on the sources."""
    validation_tokens: int
    sequence_length: int
    shuffle_seed: int
    repeats: Literal["keep", "drop"] = "keep"

    @property
    def training(self) -> TokenizerTraining | None:
        """How the tokenizer is trained; None if it is loaded."""
        return self.tokenizer.train if isinstance(self.tokenizer, Tokenizer) else None

    def to_json(self) -> dict[str, Any]:
        tokenizer = self.tokenizer
        return {
            "sources": [source.to_json() for source in self.sources],
            "tokenizer": tokenizer.as_json if isinstance(tokenizer, Tokenizer) else tokenizer.to_json(),
            "validation_tokens": self.validation_tokens,
            "sequence_length": self.sequence_length,
            "shuffle_seed": self.shuffle_seed,
            **({} if self.repeats == "keep" else {"repeats": self.repeats}),
        }

    @classmethod
    def from_json(cls, entry: Entry) -> PrepareSettings:
        data = entry["settings"]
        tokenizer = data["tokenizer"]
        return cls(
            sources=tuple(map(SourceSettings.from_json, data["sources"])),
            tokenizer=Tokenizer.model_validate(tokenizer) if tokenizer.get("train") else origin_of(tokenizer),
            validation_tokens=data["validation_tokens"],
            sequence_length=data["sequence_length"],
            shuffle_seed=data["shuffle_seed"],
            repeats=data.get("repeats", "keep"),
        )


@dataclass(frozen=True)
class PrepareRuntime(_Values):
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
class ModelRuntime(_Values):
    """What determines the model's size, for prices, and the origin of its initial weights."""

    model: Model
    vocabulary: int | None
    """Vocabulary size of the tokenizer that the recipe trains; None if the tokenizer comes with the model."""

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model.as_json, "vocabulary": self.vocabulary}


@dataclass(frozen=True)
class PretrainSettings(_Values):
    model: Published | Folder | RandomWeights | None
    """Origin of the initial weights; None for a phase that builds on another."""
    phase: Phase
    """The phase. Its name and gate do not affect the weights and are not written."""
    optimizer: Optimizer
    batch_sequences: int
    sequence_length: int
    seeds: Seeds
    precision: Precision
    first_row: int
    """Packed rows consumed by earlier phases."""

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step, over all GPUs."""
        return self.batch_sequences * self.sequence_length

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model and self.model.to_json(),
            "phase": phase_json(self.phase),
            "optimizer": self.optimizer.as_json,
            "batch_sequences": self.batch_sequences,
            "sequence_length": self.sequence_length,
            "seeds": self.seeds.as_json,
            "precision": self.precision,
            "first_row": self.first_row,
        }

    @classmethod
    def from_json(cls, entry: Entry) -> PretrainSettings:
        data = entry["settings"]
        return cls(
            model=data["model"] and origin_of(data["model"]),
            phase=_phase(entry),
            optimizer=Optimizer.model_validate(data["optimizer"]),
            batch_sequences=data["batch_sequences"],
            sequence_length=data["sequence_length"],
            seeds=Seeds.model_validate(data["seeds"]),
            precision=data["precision"],
            first_row=data["first_row"],
        )


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
class PromoteSettings(_Values):
    phase: Phase
    """The phase, with its gate. Its name is not written."""
    tokens: int
    steps: int
    sequence_length: int
    seeds: Seeds
    probe: EvaluateSettings | None = None
    """The fine-tuning of the gate's probe, if it has one."""

    def to_json(self) -> dict[str, Any]:
        return {
            "gate": self.phase.gate.as_json,
            "phase": phase_json(self.phase),
            "tokens": self.tokens,
            "steps": self.steps,
            "sequence_length": self.sequence_length,
            "seeds": self.seeds.as_json,
            **({} if self.probe is None else {"probe": self.probe.to_json()}),
        }

    @classmethod
    def from_json(cls, entry: Entry) -> PromoteSettings:
        data = entry["settings"]
        return cls(
            phase=_phase(entry, gate=data["gate"]),
            tokens=data["tokens"],
            steps=data["steps"],
            sequence_length=data["sequence_length"],
            seeds=Seeds.model_validate(data["seeds"]),
            probe=EvaluateSettings.from_json({"settings": data["probe"]}) if "probe" in data else None,
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
class ExportSettings(_Values):
    dtype: Literal["float32", "bfloat16"]
    classifier_pooling: Literal["cls", "mean"] | None = None
    equivalence: Equivalence | None = None
    """None for the default."""

    def to_json(self) -> dict[str, Any]:
        pooling = {} if self.classifier_pooling is None else {"classifier_pooling": self.classifier_pooling}
        asked = {} if self.equivalence is None else {"equivalence": self.equivalence.as_json}
        return {"dtype": self.dtype, **pooling, **asked}

    @classmethod
    def from_json(cls, entry: Entry) -> ExportSettings:
        settings = entry["settings"]
        asked = settings.get("equivalence")
        return cls(settings["dtype"], settings.get("classifier_pooling"), asked and Equivalence.model_validate(asked))


@dataclass(frozen=True)
class ExportRuntime(ModelRuntime):
    @classmethod
    def from_json(cls, entry: Entry) -> ExportRuntime:
        return cls(**_model(entry["runtime"]))


@dataclass(frozen=True)
class EvaluateSettings(_Values):
    task: Task
    """The task, without `documents`, `obtain` and the location of its data (`without_place`)."""
    seed: int
    files: tuple[FileContent, ...]

    def to_json(self) -> dict[str, Any]:
        task = {key: value for key, value in self.task.as_json.items() if key not in ("documents", "obtain")}
        if task["data"]:
            task["data"] = placeless_json(task["data"])
        return {"task": task, "seed": self.seed, "files": files_json(self.files)}

    @classmethod
    def from_json(cls, entry: Entry) -> EvaluateSettings:
        settings = entry["settings"]
        data = settings["task"]["data"]
        task = {**settings["task"], "data": data and {**data, "path": ""}}
        return cls(Task.model_validate(task), settings["seed"], files_of(settings["files"]))


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
class SummarizeSettings(_Values):
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {"tasks": list(self.tasks), "seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, entry: Entry) -> SummarizeSettings:
        return cls(tuple(entry["settings"]["tasks"]), tuple(entry["settings"]["seeds"]))


@dataclass(frozen=True)
class SummarizeRuntime(_Values):
    def to_json(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_json(cls, entry: Entry) -> SummarizeRuntime:  # noqa: ARG003
        return cls()


Settings = PrepareSettings | PretrainSettings | PromoteSettings | ExportSettings | EvaluateSettings | SummarizeSettings
Runtime = PrepareRuntime | PretrainRuntime | PromoteRuntime | ExportRuntime | EvaluateRuntime | SummarizeRuntime


def phase_json(phase: Phase) -> dict[str, Any]:
    """Return a phase as JSON, without its name and gate."""
    return {key: value for key, value in phase.as_json.items() if key not in ("name", "gate")}


def _phase(entry: Entry, **more: Any) -> Phase:
    """Read a phase, with its name from the label: it does not affect the result, so the settings omit it."""
    _, _, name = entry["label"].partition(" ")
    return Phase.model_validate({"name": name, **entry["settings"]["phase"], **more})


def _model(runtime: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary = None if runtime.get("vocabulary") is None else _whole(runtime, "vocabulary")
    return {"model": Model.model_validate(runtime["model"]), "vocabulary": vocabulary}


def _whole(runtime: Mapping[str, Any], name: str) -> int:
    """Read a whole number. Runtime values enter no key, so only this check detects an edit."""
    value = runtime[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError(f"{name} is {value!r}, expected a whole number")
    return value
