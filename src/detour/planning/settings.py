"""Settings of each kind of stage, which determine its result; their digest determines the stage's key.

Sections of a recipe (`detour.config.models`) are typed already and are used unchanged. Only the pairs of `to_json` and
`from_json`, here and in the modules `runtime` and `origins`, know how stage.json and plan.json store these values.
Settings omit everything that does not affect the result. `from_json` takes a stage's whole entry and raises KeyError,
TypeError or ValueError if it cannot read it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from detour.canonical import digest
from detour.config.models import Equivalence, Optimizer, Phase, Seeds, Task, Tokenizer, TokenizerTraining
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


class Values(ABC):
    @abstractmethod
    def to_json(self) -> dict[str, Any]: ...

    @cached_property
    def digest(self) -> str:
        """A digest that is equal for equal JSON values; that of the settings enters the stage's key."""
        return digest(self.to_json())


@dataclass(frozen=True)
class PrepareSettings(Values):
    sources: tuple[SourceSettings, ...]
    tokenizer: Published | Folder | Tokenizer
    """A `Tokenizer` is trained on the sources."""
    validation_tokens: int
    sequence_length: int
    shuffle_seed: int
    repeats: Literal["keep", "drop"] = "keep"

    @property
    def used(self) -> tuple[SourceSettings, ...]:
        """The sources that the corpus is made of: those whose weight is not 0."""
        return tuple(source for source in self.sources if source.source.weight > 0)

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
class PretrainSettings(Values):
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
class PromoteSettings(Values):
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
class ExportSettings(Values):
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
class EvaluateSettings(Values):
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
class SummarizeSettings(Values):
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {"tasks": list(self.tasks), "seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, entry: Entry) -> SummarizeSettings:
        return cls(tuple(entry["settings"]["tasks"]), tuple(entry["settings"]["seeds"]))


Settings = PrepareSettings | PretrainSettings | PromoteSettings | ExportSettings | EvaluateSettings | SummarizeSettings


def phase_json(phase: Phase) -> dict[str, Any]:
    """Return a phase as JSON, without its name and gate."""
    return {key: value for key, value in phase.as_json.items() if key not in ("name", "gate")}


def _phase(entry: Entry, **more: Any) -> Phase:
    """Read a phase, with its name from the label: it does not affect the result, so the settings omit it."""
    _, _, name = entry["label"].partition(" ")
    return Phase.model_validate({"name": name, **entry["settings"]["phase"], **more})
