"""What each kind of stage is given: settings determine its result, runtime values only how fast it runs and where.

Sections of a recipe (`detour.config.models`) are typed already and are kept as they are. Each pair of `to_json` and
`from_json`, here and in `detour.planning.origins`, is all that knows how stage.json and plan.json write these values.
Settings are written without anything that leaves the result as it is, because their digest makes the stage's key.
`from_json` takes a stage's whole entry and raises KeyError, TypeError or ValueError for one that it cannot read.
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
"""A stage in JSON values: kind, key, label, settings, inputs, runtime."""


class _Values(ABC):
    @abstractmethod
    def to_json(self) -> dict[str, Any]: ...

    @cached_property
    def digest(self) -> str:
        """Equal for equal JSON values; that of settings enters the stage's key."""
        return digest(self.to_json())


@dataclass(frozen=True)
class PrepareSettings(_Values):
    sources: tuple[SourceSettings, ...]
    tokenizer: Published | Folder | Tokenizer
    """A `Tokenizer` is one that is learnt from the sources."""
    validation_tokens: int
    sequence_length: int
    shuffle_seed: int
    repeats: Literal["keep", "drop"] = "keep"

    @property
    def training(self) -> TokenizerTraining | None:
        """How the tokenizer is learnt; None for one that is loaded."""
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
    """Source -> its files on this machine."""
    source_bytes: int | None = None
    """Of all files together; None where one of them is not here."""
    tokenizer: str | None = None
    """Hub id or folder to load; None for a tokenizer that is learnt."""
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
    """What gives the model's size, for prices, and where its first weights come from."""

    model: Model
    vocabulary: int | None
    """Of the tokenizer that the recipe has learnt; None where it comes with the model."""

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model.as_json, "vocabulary": self.vocabulary}


@dataclass(frozen=True)
class PretrainSettings(_Values):
    model: Published | Folder | RandomWeights | None
    """Where the weights start; None for a phase that builds on another."""
    phase: Phase
    """Its name and its gate change no weights and are not written."""
    optimizer: Optimizer
    batch_sequences: int
    sequence_length: int
    seeds: Seeds
    precision: Precision
    first_row: int
    """Packed rows consumed by the phases before."""

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
    """Its precision changes the result: it is written with the settings."""
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
    """With its gate, but its name is not written."""
    tokens: int
    steps: int
    sequence_length: int
    seeds: Seeds
    probe: EvaluateSettings | None = None
    """What the gate's probe fine-tunes on."""

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
    """Without its `documents` and `obtain`, and its data as `without_place` leaves them."""
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
    """How many documents the task has, where that is published."""

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
    """A phase without its name and its gate."""
    return {key: value for key, value in phase.as_json.items() if key not in ("name", "gate")}


def _phase(entry: Entry, **more: Any) -> Phase:
    """Named as the label ends: the name changes no result, so the settings have none."""
    _, _, name = entry["label"].partition(" ")
    return Phase.model_validate({"name": name, **entry["settings"]["phase"], **more})


def _model(runtime: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary = None if runtime.get("vocabulary") is None else _whole(runtime, "vocabulary")
    return {"model": Model.model_validate(runtime["model"]), "vocabulary": vocabulary}


def _whole(runtime: Mapping[str, Any], name: str) -> int:
    """Runtime values are in no key, so an edit shows here alone."""
    value = runtime[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError(f"{name} is {value!r}, expected a whole number")
    return value
