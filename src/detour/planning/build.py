"""From a recipe to its stages: a pure function, once the files that a recipe names have been looked at.

    prepare -> (pretrain -> promote) for each phase -> export -> evaluate (task x seed) -> summarize

What enters a stage's `settings` determines its result and so its key; everything else goes to `runtime`.
Settings that many chains share are dumped and digested once, so that a sweep of ten thousand chains plans in
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from detour.config.models import Benchmark, File, Phase, Recipe, Task
from detour.planning.arithmetic import PhaseSteps, phase_steps
from detour.planning.stage import Stage, StageKind, settings_digest, stage_key


@dataclass(frozen=True, slots=True)
class Content:
    """The files behind one entry of a recipe: where they are here, and what is in them anywhere."""

    paths: tuple[Path, ...]
    fingerprints: tuple[str, ...]
    size_bytes: int | None = None
    """Of all files together; None where they are not here."""
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

    def to_json(self, *, stages: bool = True) -> dict[str, Any]:
        told: dict[str, Any] = {
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
        }
        return told | ({"stages": [stage.to_json() for stage in self.stages]} if stages else {})


@dataclass(frozen=True, slots=True)
class _Template:
    """A stage without its inputs: made once for all chains that share its parts."""

    kind: StageKind
    label: str
    settings: Mapping[str, Any]
    runtime: Mapping[str, Any]
    missing: tuple[str, ...]
    digest: str

    def stage(self, inputs: Mapping[str, str]) -> Stage:
        key = stage_key(self.kind, self.digest, inputs)
        return Stage(self.kind, self.label, self.settings, inputs, self.runtime, key)


@dataclass(frozen=True, slots=True)
class _Made:
    settings: dict[str, Any]
    runtime: dict[str, Any] = field(default_factory=dict)
    contents: Sequence[Content | None] = ()
    """Of the files that enter the settings."""


@dataclass(slots=True)
class Planner:
    """Plans chain after chain, remembering what they share.

    Everything is remembered by identity, beside the objects themselves, so that an id stays its object's own.
    """

    inspect: Inspect
    _contents: dict[int, tuple[object, Content | None]] = field(default_factory=dict)
    _dumps: dict[int, tuple[object, Any]] = field(default_factory=dict)
    _templates: dict[tuple[object, ...], tuple[object, _Template]] = field(default_factory=dict)
    _evaluations: dict[tuple[int, ...], tuple[object, dict[str, _Template]]] = field(default_factory=dict)

    def plan(self, recipe: Recipe) -> Plan:
        """The chain of one recipe. Pure but for `inspect`, which is asked once for every entry."""
        chain = _Chain(self, recipe, phase_steps(recipe))
        chain.build()
        return Plan(recipe.name, tuple(chain.stages), chain.phases, tuple(dict.fromkeys(chain.missing)))

    def content(self, entry: File | str) -> Content | None:
        cached = self._contents.get(id(entry))
        if cached is None:
            cached = self._contents[id(entry)] = (entry, self.inspect(entry))
        return cached[1]

    def pretrained(self, name: str, revision: str | None) -> tuple[dict[str, Any], Content | None]:
        """Identity of published weights or a tokenizer: a folder by its content, a hub id by its name."""
        content = self.content(name)
        identity = {"pretrained": name, "revision": revision} if content is None else {"files": content.identity()}
        return identity, content

    def dump(self, model: BaseModel) -> Any:
        cached = self._dumps.get(id(model))
        if cached is None:
            cached = self._dumps[id(model)] = (model, model.model_dump(mode="json"))
        return cached[1]

    def template(self, kind: StageKind, label: str, parts: Sequence[object], make: Callable[[], _Made]) -> _Template:
        """What `make` says, asked once for the same `parts`: all that it depends on, in a fixed order."""
        cache_key = (kind, label, *(part if isinstance(part, str | int) else id(part) for part in parts))
        cached = self._templates.get(cache_key)
        if cached is None:
            made = make()
            missing = tuple(content.missing for content in made.contents if content and content.missing)
            template = _Template(kind, label, made.settings, made.runtime, missing, settings_digest(made.settings))
            cached = self._templates[cache_key] = (parts, template)
        return cached[1]

    def size(self, recipe: Recipe) -> dict[str, Any]:
        """Runtime entries that tell how large the model is, for prices."""
        train = recipe.tokenizer.train
        return {"model": self.dump(recipe.model), "vocabulary": train.vocabulary if train else None}

    def evaluations(self, recipe: Recipe, benchmark: Benchmark) -> dict[str, _Template]:
        """Role in the summary -> what is evaluated, whatever the weights."""
        parts = (benchmark, recipe.model, recipe.tokenizer)
        cache_key = tuple(map(id, parts))
        cached = self._evaluations.get(cache_key)
        if cached is None:
            templates = {
                f"{task.name}/{seed}": self._evaluation(recipe, task, seed)
                for task in benchmark.tasks
                for seed in benchmark.seeds
            }
            cached = self._evaluations[cache_key] = (parts, templates)
        return cached[1]

    def _evaluation(self, recipe: Recipe, task: Task, seed: int) -> _Template:
        def make() -> _Made:
            content = self.content(task.data) if task.data else None
            dumped = {**self.dump(task)}
            documents = dumped.pop("documents")
            dumped["data"] = dumped["data"] and _without_place(dumped["data"])
            settings = {"task": dumped, "seed": seed, "files": content.identity() if content else []}
            runtime = {"paths": _paths(content), "documents": documents, **self.size(recipe)}
            return _Made(settings, runtime, [content])

        parts = (task, seed, recipe.model, recipe.tokenizer)
        return self.template("evaluate", f"evaluate {task.name} seed {seed}", parts, make)


@dataclass(slots=True)
class _Chain:
    planner: Planner
    recipe: Recipe
    phases: dict[str, PhaseSteps]
    stages: list[Stage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def build(self) -> None:
        corpus = self._add(self._prepare(), {})
        parent: str | None = None
        for phase in self.recipe.phases:
            inputs = {"corpus": corpus} | ({"parent": parent} if parent else {})
            checkpoint = self._add(self._pretrain(phase, is_child=parent is not None), inputs)
            parent = self._add(self._promote(phase), {"checkpoint": checkpoint, **inputs})
        assert parent is not None
        model = self._add(self._export(), {"checkpoint": parent, "corpus": corpus})
        if benchmark := self.recipe.benchmark:
            read = {"model": model}
            results = {
                role: self._add(template, read)
                for role, template in self.planner.evaluations(self.recipe, benchmark).items()
            }
            self._add(self._summary(benchmark), results)

    def _add(self, template: _Template, inputs: Mapping[str, str]) -> str:
        stage = template.stage(inputs)
        self.stages.append(stage)
        self.missing += template.missing
        return stage.id

    def _prepare(self) -> _Template:
        recipe, planner = self.recipe, self.planner
        tokenizer = recipe.tokenizer
        pretrained = None if tokenizer.train else (tokenizer.pretrained or recipe.model.pretrained)
        revision = tokenizer.revision if tokenizer.pretrained else recipe.model.revision

        def make() -> _Made:
            contents = {source.name: planner.content(source) for source in recipe.data.sources}
            identity, folder = planner.pretrained(pretrained, revision) if pretrained else (None, None)
            settings = {
                "sources": [
                    {**_without_place(planner.dump(source)), "files": content.identity() if content else []}
                    for source, content in zip(recipe.data.sources, contents.values(), strict=True)
                ],
                "tokenizer": identity or planner.dump(tokenizer),
                "validation_tokens": recipe.data.validation_tokens,
                "sequence_length": recipe.data.sequence_length,
                "shuffle_seed": recipe.seeds.shuffle,
            }
            runtime = {
                "source_paths": {name: _paths(content) for name, content in contents.items()},
                "source_bytes": _sum(content.size_bytes if content else None for content in contents.values()),
                "tokenizer": pretrained,
                "tokenizer_revision": revision,
            }
            return _Made(settings, runtime, [*contents.values(), folder])

        return planner.template("prepare", "prepare", (recipe.data, tokenizer, recipe.model, recipe.seeds), make)

    def _pretrain(self, phase: Phase, *, is_child: bool) -> _Template:
        recipe, planner, steps = self.recipe, self.planner, self.phases[phase.name]

        def make() -> _Made:
            start, folder = (None, None) if is_child else self._start()
            settings = {
                "model": start,
                "phase": _result_determining(planner.dump(phase)),
                "optimizer": planner.dump(recipe.optimizer),
                "batch_sequences": recipe.batch.sequences,
                "sequence_length": recipe.data.sequence_length,
                "seeds": planner.dump(recipe.seeds),
                "precision": recipe.training.precision,
                "first_row": steps.first_row,
            }
            runtime = {
                "microbatch_sequences": recipe.batch.microbatch_sequences,
                "training": {k: v for k, v in planner.dump(recipe.training).items() if k != "precision"},
                "planned": {"tokens": steps.tokens, "steps": steps.steps, "warmup_steps": steps.warmup_steps},
                "validation_tokens": recipe.data.validation_tokens,
                **planner.size(recipe),
            }
            return _Made(settings, runtime, [folder])

        parts = (
            phase,
            recipe.optimizer,
            recipe.batch,
            recipe.data,
            recipe.seeds,
            recipe.training,
            recipe.model,
            recipe.tokenizer,
            steps.first_row,
            is_child,
        )
        return planner.template("pretrain", f"pretrain {phase.name}", parts, make)

    def _start(self) -> tuple[dict[str, Any], Content | None]:
        model = self.recipe.model
        if model.pretrained:
            identity, folder = self.planner.pretrained(model.pretrained, model.revision)
            return identity | ({"head": model.head} if model.head != "pretrained" else {}), folder
        return {"config": model.config}, None

    def _promote(self, phase: Phase) -> _Template:
        recipe, planner, steps = self.recipe, self.planner, self.phases[phase.name]

        def make() -> _Made:
            settings = {
                "gate": planner.dump(phase.gate),
                "phase": _result_determining(planner.dump(phase)),
                "tokens": steps.tokens,
                "steps": steps.steps,
                "sequence_length": recipe.data.sequence_length,
                "seeds": planner.dump(recipe.seeds),
            }
            return _Made(settings, {"validation_tokens": recipe.data.validation_tokens, **planner.size(recipe)})

        parts = (phase, steps.tokens, steps.steps, recipe.data, recipe.seeds, recipe.model, recipe.tokenizer)
        return planner.template("promote", f"promote {phase.name}", parts, make)

    def _export(self) -> _Template:
        recipe, planner = self.recipe, self.planner
        parts = (recipe.export, recipe.model, recipe.tokenizer)
        return planner.template(
            "export", "export", parts, lambda: _Made({**planner.dump(recipe.export)}, planner.size(recipe))
        )

    def _summary(self, benchmark: Benchmark) -> _Template:
        def make() -> _Made:
            return _Made({"tasks": [task.name for task in benchmark.tasks], "seeds": list(benchmark.seeds)})

        return self.planner.template("summarize", "summarize", (benchmark,), make)


def _result_determining(phase: Mapping[str, Any]) -> dict[str, Any]:
    """A phase without its name and its gate, which do not change the weights."""
    return {key: value for key, value in phase.items() if key not in ("name", "gate")}


def _without_place(file: Mapping[str, Any]) -> dict[str, Any]:
    """A file's entry without where it lies: its content is what counts."""
    return {key: value for key, value in file.items() if key not in ("path", "package")}


def _paths(content: Content | None) -> list[str]:
    return [str(path) for path in content.paths] if content else []


def _sum(sizes: Iterable[int | None]) -> int | None:
    """None when one of them is unknown."""
    listed = list(sizes)
    known = [size for size in listed if size is not None]
    return sum(known) if len(known) == len(listed) else None
