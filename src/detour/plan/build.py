"""From a recipe to its stages: a pure function, once the files that a recipe names have been looked at.

    prepare -> (pretrain -> promote) for each phase -> export -> evaluate (task x seed) -> summarize

What enters a stage's `settings` determines its result and so its key; everything else goes to `runtime`.
Settings that many chains share are dumped and digested once, so that a sweep of ten thousand chains plans in
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from detour.plan.arithmetic import PhaseSteps, phase_steps
from detour.plan.stage import Stage, StageKind, settings_digest, stage_key
from detour.recipe.models import File, Phase, Recipe, Task


@dataclass(frozen=True, slots=True)
class Content:
    """The files behind one entry of a recipe: where they are here, and what is in them anywhere."""

    paths: tuple[Path, ...]
    fingerprints: tuple[str, ...]
    missing: str | None = None
    """Why they cannot be looked at on this machine; the keys that depend on them are then provisional."""

    def identity(self) -> list[dict[str, str]]:
        return [
            {"name": path.name, "fingerprint": fingerprint}
            for path, fingerprint in zip(self.paths, self.fingerprints, strict=True)
        ]


Inspect = Callable[[File | str], Content | None]
"""Looks at a file entry of the recipe or at a `pretrained` id; None for a hub id, which needs no look."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One chain, in an order in which every stage comes after its inputs."""

    chain: str
    stages: tuple[Stage, ...]
    phases: Mapping[str, PhaseSteps]
    missing: tuple[str, ...] = ()
    """What was not found here; a plan with missing files can be read and priced, not run."""

    def to_json(self) -> dict[str, Any]:
        return {
            "chain": self.chain,
            "phases": {
                name: {
                    "tokens": phase.tokens,
                    "steps": phase.steps,
                    "warmup_steps": phase.warmup_steps,
                    "step_tokens": phase.step_tokens,
                    "first_row": phase.first_row,
                }
                for name, phase in self.phases.items()
            },
            "missing": list(self.missing),
            "stages": [stage.to_json() for stage in self.stages],
        }


@dataclass(slots=True)
class Planner:
    """Plans chain after chain, remembering what they share."""

    inspect: Inspect
    _contents: dict[int, tuple[object, Content | None]] = field(default_factory=dict)
    _dumps: dict[int, tuple[object, Any]] = field(default_factory=dict)
    _digests: dict[tuple[object, ...], tuple[object, dict[str, Any], str]] = field(default_factory=dict)

    def plan(self, recipe: Recipe) -> Plan:
        """The chain of one recipe. Pure but for `inspect`, which is asked once for every entry."""
        chain = _Chain(self, recipe, phase_steps(recipe))
        chain.build()
        return Plan(recipe.name, tuple(chain.stages), chain.phases, tuple(dict.fromkeys(chain.missing)))

    def content(self, entry: File | str) -> Content | None:
        """Cached by identity; the entry is kept alive beside the answer, so that its id stays its own."""
        cached = self._contents.get(id(entry))
        if cached is None:
            cached = self._contents[id(entry)] = (entry, self.inspect(entry))
        return cached[1]

    def dump(self, model: BaseModel) -> Any:
        cached = self._dumps.get(id(model))
        if cached is None:
            cached = self._dumps[id(model)] = (model, model.model_dump(mode="json"))
        return cached[1]

    def digested(self, parts: Sequence[object], make: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], str]:
        """The settings made from `parts`, and their digest; made once for the same objects and values."""
        cache_key = tuple(part if isinstance(part, str | int | float) else id(part) for part in parts)
        cached = self._digests.get(cache_key)
        if cached is None:
            settings = make()
            cached = self._digests[cache_key] = (tuple(parts), settings, settings_digest(settings))
        return cached[1], cached[2]


@dataclass(slots=True)
class _Chain:
    planner: Planner
    recipe: Recipe
    phases: dict[str, PhaseSteps]
    stages: list[Stage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def build(self) -> None:
        corpus = self._prepare()
        parent: str | None = None
        for phase in self.recipe.phases:
            checkpoint = self._pretrain(phase, corpus, parent)
            parent = self._promote(phase, checkpoint, corpus, parent)
        assert parent is not None
        model = self._export(corpus, parent)
        if self.recipe.benchmark is not None:
            self._evaluate_and_summarize(model)

    def _add(
        self,
        kind: StageKind,
        label: str,
        parts: Sequence[object],
        make: Callable[[], dict[str, Any]],
        inputs: Mapping[str, str],
        runtime: Mapping[str, Any] | None = None,
    ) -> str:
        settings, digest = self.planner.digested((kind, *parts), make)
        stage = Stage(kind, label, settings, inputs, runtime or {}, stage_key(kind, digest, inputs))
        self.stages.append(stage)
        return stage.id

    def _content(self, entry: File | str) -> Content | None:
        content = self.planner.content(entry)
        if content is not None and content.missing:
            self.missing.append(content.missing)
        return content

    def _pretrained(self, name: str, revision: str | None) -> dict[str, Any]:
        """Identity of published weights or a tokenizer: a folder by its content, a hub id by its name."""
        content = self._content(name)
        if content is None:
            return {"pretrained": name, "revision": revision}
        return {"files": content.identity()}

    def _prepare(self) -> str:
        recipe = self.recipe
        contents = {source.name: self._content(source) for source in recipe.data.sources}
        tokenizer = recipe.tokenizer
        pretrained = None if tokenizer.train else (tokenizer.pretrained or recipe.model.pretrained)
        revision = tokenizer.revision if tokenizer.pretrained else recipe.model.revision

        def make() -> dict[str, Any]:
            sources = []
            for source in recipe.data.sources:
                dumped = {k: v for k, v in self.planner.dump(source).items() if k not in ("path", "package")}
                content = contents[source.name]
                sources.append({**dumped, "files": content.identity() if content else []})
            return {
                "sources": sources,
                "tokenizer": self._pretrained(pretrained, revision) if pretrained else self.planner.dump(tokenizer),
                "validation_tokens": recipe.data.validation_tokens,
                "sequence_length": recipe.data.sequence_length,
                "shuffle_seed": recipe.seeds.shuffle,
            }

        runtime = {
            "source_paths": {
                name: [str(path) for path in content.paths] if content else [] for name, content in contents.items()
            },
            "tokenizer": pretrained,
            "tokenizer_revision": revision,
        }
        parts = (recipe.data, tokenizer, recipe.model, recipe.seeds.shuffle)
        return self._add("prepare", "prepare", parts, make, {}, runtime)

    def _start(self) -> dict[str, Any]:
        model = self.recipe.model
        if model.pretrained:
            return self._pretrained(model.pretrained, model.revision)
        return {"config": model.config}

    def _pretrain(self, phase: Phase, corpus: str, parent: str | None) -> str:
        recipe, steps = self.recipe, self.phases[phase.name]

        def make() -> dict[str, Any]:
            return {
                "model": None if parent else self._start(),
                "phase": _result_determining(self.planner.dump(phase)),
                "optimizer": self.planner.dump(recipe.optimizer),
                "batch_sequences": recipe.batch.sequences,
                "sequence_length": recipe.data.sequence_length,
                "seeds": self.planner.dump(recipe.seeds),
                "precision": recipe.training.precision,
                "first_row": steps.first_row,
            }

        runtime = {
            "microbatch_sequences": recipe.batch.microbatch_sequences,
            "training": {k: v for k, v in self.planner.dump(recipe.training).items() if k != "precision"},
            "model": self.planner.dump(recipe.model),
            "vocabulary": recipe.tokenizer.train.vocabulary if recipe.tokenizer.train else None,
            "planned": {"tokens": steps.tokens, "steps": steps.steps, "warmup_steps": steps.warmup_steps},
        }
        parts = (
            phase,
            recipe.optimizer,
            recipe.batch.sequences,
            recipe.data.sequence_length,
            recipe.seeds,
            recipe.training.precision,
            steps.first_row,
            "child" if parent else recipe.model,
        )
        inputs = {"corpus": corpus} | ({"parent": parent} if parent else {})
        return self._add("pretrain", f"pretrain {phase.name}", parts, make, inputs, runtime)

    def _promote(self, phase: Phase, checkpoint: str, corpus: str, parent: str | None) -> str:
        recipe, steps = self.recipe, self.phases[phase.name]

        def make() -> dict[str, Any]:
            return {
                "gate": self.planner.dump(phase.gate),
                "phase": _result_determining(self.planner.dump(phase)),
                "tokens": steps.tokens,
                "steps": steps.steps,
                "sequence_length": recipe.data.sequence_length,
                "seeds": self.planner.dump(recipe.seeds),
            }

        parts = (phase, steps.tokens, steps.steps, recipe.data.sequence_length, recipe.seeds)
        inputs = {"checkpoint": checkpoint, "corpus": corpus} | ({"parent": parent} if parent else {})
        runtime = {"model": self.planner.dump(recipe.model)}
        return self._add("promote", f"promote {phase.name}", parts, make, inputs, runtime)

    def _export(self, corpus: str, checkpoint: str) -> str:
        return self._add(
            "export",
            "export",
            (self.recipe.export,),
            lambda: dict(self.planner.dump(self.recipe.export)),
            {"checkpoint": checkpoint, "corpus": corpus},
        )

    def _evaluate_and_summarize(self, model: str) -> None:
        benchmark = self.recipe.benchmark
        assert benchmark is not None
        inputs = {
            f"{task.name}/{seed}": self._evaluate(task, seed, model)
            for task in benchmark.tasks
            for seed in benchmark.seeds
        }
        self._add(
            "summarize",
            "summarize",
            (benchmark, "summary"),
            lambda: {"tasks": [task.name for task in benchmark.tasks], "seeds": list(benchmark.seeds)},
            inputs,
        )

    def _evaluate(self, task: Task, seed: int, model: str) -> str:
        content = self._content(task.data) if task.data else None

        def make() -> dict[str, Any]:
            dumped = {**self.planner.dump(task)}
            dumped["data"] = dumped["data"] and {
                k: v for k, v in dumped["data"].items() if k not in ("path", "package")
            }
            return {"task": dumped, "seed": seed, "files": content.identity() if content else []}

        runtime = {"paths": [str(path) for path in content.paths] if content else []}
        label = f"evaluate {task.name} seed {seed}"
        return self._add("evaluate", label, (task, seed), make, {"model": model}, runtime)


def _result_determining(phase: Mapping[str, Any]) -> dict[str, Any]:
    """A phase without its name and its gate, which do not change the weights."""
    return {key: value for key, value in phase.items() if key not in ("name", "gate")}
