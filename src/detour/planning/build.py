"""Build the stages of a recipe. Apart from inspecting the files that the recipe names, this is pure.

    prepare -> (pretrain -> promote) for each phase -> export -> evaluate (task x seed) -> summarize

A stage's `settings` determine its result and so its key; everything else goes to `runtime`. Settings that many chains
share are serialised and digested once, so a sweep of ten thousand chains is planned in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from detour.config.fields import File
from detour.config.models import Benchmark, Gate, Phase, Recipe, Source, Task, TaskData
from detour.planning.arithmetic import PhaseSteps, phase_steps
from detour.planning.origins import Content, Folder, Published, RandomWeights, SourceSettings, without_place
from detour.planning.plan import Plan
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
    EvaluateSettings,
    ExportSettings,
    PrepareSettings,
    PretrainSettings,
    PromoteSettings,
    Settings,
    SummarizeSettings,
)
from detour.planning.stage import (
    EvaluateStage,
    ExportStage,
    PrepareStage,
    PretrainStage,
    PromoteStage,
    Stage,
    SummarizeStage,
    stage_key,
)
from detour.sums import complete_sum

UNGATED = {"gate": Gate()}
"""Update that resets a phase's gate, which only the promotion depends on."""


Inspect = Callable[[File | str], Content | None]
"""Inspects a file entry of the recipe or a `pretrained` id; None for a hub id, which needs no inspection."""


@dataclass(frozen=True, slots=True)
class _Template:
    """A stage without its inputs, made once for all chains that share its parts."""

    kind: type[Stage]
    settings: Settings
    runtime: Runtime
    missing: tuple[str, ...] = ()
    """Why files that enter the settings cannot be inspected."""

    def stage(self, inputs: Mapping[str, str]) -> Stage:
        key = stage_key(self.kind.kind, self.settings.digest, inputs)
        return self.kind(self.settings, inputs, self.runtime, key)


Made = TypeVar("Made")


@dataclass(slots=True)
class Planner:
    """Plans one chain after another, caching what they share by the digests of its parts."""

    inspect: Inspect
    _contents: dict[str, Content | None] = field(default_factory=dict)
    _made: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def plan(self, recipe: Recipe) -> Plan:
        """Plan the chain of one recipe. Pure except for `inspect`, which is called once per entry."""
        chain = _Chain(self, recipe, phase_steps(recipe))
        chain.build()
        return Plan(recipe.name, tuple(chain.stages), tuple(dict.fromkeys(chain.missing)))

    def content(self, entry: File | str) -> Content | None:
        place = entry if isinstance(entry, str) else entry.digest
        if place not in self._contents:
            self._contents[place] = self.inspect(entry)
        return self._contents[place]

    def pretrained(self, name: str, revision: str | None) -> tuple[Published | Folder, Content | None]:
        """Identify published weights or a tokenizer: a folder by its content, a hub id by its name."""
        content = self.content(name)
        return Published(name, revision) if content is None else Folder(content.files), content

    def once(self, parts: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """Return the result of `make`, called once per `parts`: a label and the digests of everything it depends on."""
        made: Made | None = self._made.get(parts)
        if made is None:
            made = self._made[parts] = make()
        return made

    def evaluations(self, recipe: Recipe, benchmark: Benchmark) -> dict[str, _Template]:
        """Return role in the summary -> evaluation, independent of the weights."""

        def make() -> dict[str, _Template]:
            return {
                f"{task.name}/{seed}": self.evaluation(recipe, task, seed)
                for task in benchmark.tasks
                for seed in benchmark.seeds
            }

        return self.once(("evaluations", benchmark.digest, *_size_digests(recipe)), make)

    def evaluation(self, recipe: Recipe, task: Task, seed: int) -> _Template:
        content = self.content(task.data) if task.data else None
        identity = {"data": task.data and _as_read(task.data, content), "documents": None, "obtain": ""}
        settings = EvaluateSettings(task.model_copy(update=identity), seed, content.files if content else ())
        runtime = EvaluateRuntime(**_size(recipe), paths=_paths(content), documents=task.documents)
        return _Template(EvaluateStage, settings, runtime, _missing(content))


Columns = TypeVar("Columns", Source, TaskData)
TSV = (".tsv", ".tsv.gz", ".tsv.zst")


def _as_read(entry: Columns, content: Content | None) -> Columns:
    """Return the entry without its location, and with `quoting` resolved from its file names, since it matters."""
    names = [path.name.lower() for path in content.paths] if content else []
    if entry.quoting == "auto" and names and all(name.endswith(TSV) for name in names):
        entry = entry.model_copy(update={"quoting": "none"})
    return without_place(entry)


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

        def make() -> _Template:
            contents = {source.name: planner.content(source) for source in recipe.data.sources}
            identity, folder = planner.pretrained(pretrained, revision) if pretrained else (tokenizer, None)
            settings = PrepareSettings(
                sources=tuple(
                    SourceSettings(_as_read(source, content), content.files if content else ())
                    for source, content in zip(recipe.data.sources, contents.values(), strict=True)
                ),
                tokenizer=identity,
                validation_tokens=recipe.data.validation_tokens,
                sequence_length=recipe.data.sequence_length,
                shuffle_seed=recipe.seeds.shuffle,
                repeats=recipe.data.repeats,
            )
            runtime = PrepareRuntime(
                source_paths={name: _paths(content) for name, content in contents.items()},
                source_bytes=complete_sum(content.size_bytes if content else None for content in contents.values()),
                tokenizer=pretrained,
                tokenizer_revision=revision,
            )
            return _Template(PrepareStage, settings, runtime, _missing(*contents.values(), folder))

        parts = ("prepare", recipe.data.digest, tokenizer.digest, recipe.model.digest, recipe.seeds.shuffle)
        return planner.once(parts, make)

    def _pretrain(self, phase: Phase, *, is_child: bool) -> _Template:
        recipe, steps = self.recipe, self.phases[phase.name]

        def make() -> _Template:
            start, folder = (None, None) if is_child else self._start()
            settings = PretrainSettings(
                model=start,
                phase=phase.model_copy(update=UNGATED),
                optimizer=recipe.optimizer,
                batch_sequences=recipe.batch.sequences,
                sequence_length=recipe.data.sequence_length,
                seeds=recipe.seeds,
                precision=recipe.training.precision,
                first_row=steps.first_row,
            )
            return _Template(PretrainStage, settings, self._pretrain_runtime(steps), _missing(folder))

        parts = (
            "pretrain",
            phase.digest,
            recipe.optimizer.digest,
            recipe.batch.digest,
            recipe.data.digest,
            recipe.seeds.digest,
            recipe.training.digest,
            *_size_digests(recipe),
            steps.first_row,
            is_child,
        )
        return self.planner.once(parts, make)

    def _pretrain_runtime(self, steps: PhaseSteps) -> PretrainRuntime:
        recipe = self.recipe

        def make() -> PretrainRuntime:
            return PretrainRuntime(
                **_size(recipe),
                microbatch_sequences=recipe.batch.microbatch_sequences,
                training=recipe.training,
                tokens=steps.tokens,
                steps=steps.steps,
                warmup_steps=steps.warmup_steps,
                validation_tokens=recipe.data.validation_tokens,
            )

        sections = (recipe.batch.digest, recipe.training.digest, recipe.data.digest)
        planned = (steps.tokens, steps.steps, steps.warmup_steps)
        return self.planner.once(("pretrain runtime", *sections, *planned, *_size_digests(recipe)), make)

    def _start(self) -> tuple[Published | Folder | RandomWeights, Content | None]:
        model = self.recipe.model
        if model.pretrained:
            origin, folder = self.planner.pretrained(model.pretrained, model.revision)
            return replace(origin, head=model.head), folder
        assert model.config is not None
        return RandomWeights(model.config), None

    def _promote(self, phase: Phase) -> _Template:
        recipe, steps = self.recipe, self.phases[phase.name]

        def make() -> _Template:
            probe = self._probe(phase)
            settings = PromoteSettings(
                phase,
                steps.tokens,
                steps.steps,
                recipe.data.sequence_length,
                recipe.seeds,
                None if probe is None else cast(EvaluateSettings, probe.settings),
            )
            runtime = PromoteRuntime(
                **_size(recipe),
                validation_tokens=recipe.data.validation_tokens,
                probe=None if probe is None else cast(EvaluateRuntime, probe.runtime),
            )
            return _Template(PromoteStage, settings, runtime, () if probe is None else probe.missing)

        sections = (phase.digest, recipe.data.digest, recipe.seeds.digest)
        benchmark = recipe.benchmark.digest if recipe.benchmark and phase.gate.probe else None
        parts = ("promote", *sections, benchmark, steps.tokens, steps.steps, *_size_digests(recipe))
        return self.planner.once(parts, make)

    def _probe(self, phase: Phase) -> _Template | None:
        """Return the evaluation that the phase's gate requires, if any."""
        probe, benchmark = phase.gate.probe, self.recipe.benchmark
        if probe is None or benchmark is None:
            return None
        task = next(task for task in benchmark.tasks if task.name == probe.task)
        return self.planner.evaluation(self.recipe, task, probe.seed)

    def _export(self) -> _Template:
        recipe = self.recipe
        return self.planner.once(
            ("export", recipe.export.digest, *_size_digests(recipe)),
            lambda: _Template(
                ExportStage,
                ExportSettings(recipe.export.dtype, recipe.export.classifier_pooling, recipe.export.equivalence),
                ExportRuntime(**_size(recipe)),
            ),
        )

    def _summary(self, benchmark: Benchmark) -> _Template:
        def make() -> _Template:
            settings = SummarizeSettings(tuple(task.name for task in benchmark.tasks), benchmark.seeds)
            return _Template(SummarizeStage, settings, SummarizeRuntime())

        return self.planner.once(("summarize", benchmark.digest), make)


def _size_digests(recipe: Recipe) -> tuple[str, str]:
    return recipe.model.digest, recipe.tokenizer.digest


def _size(recipe: Recipe) -> dict[str, Any]:
    """Return the values that determine the model's size; see `ModelRuntime`."""
    train = recipe.tokenizer.train
    return {"model": recipe.model, "vocabulary": train.vocabulary if train else None}


def _paths(content: Content | None) -> tuple[Path, ...]:
    return content.paths if content else ()


def _missing(*contents: Content | None) -> tuple[str, ...]:
    return tuple(content.missing for content in contents if content and content.missing)
