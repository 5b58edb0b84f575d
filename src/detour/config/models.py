"""The recipe: one chain, from text to evaluated encoder, as immutable, fully typed models.

Each section has its own module; this one has the recipe, and offers the sections that other rooms use. Which fields
determine a result, and so belong to a stage's key, is decided in `detour.planning`.
"""

from __future__ import annotations

from pydantic import Field

from detour.config.benchmark import Benchmark, Split, Task, TaskData, TaskSize
from detour.config.data import Data, Source, Tokenizer, TokenizerTraining
from detour.config.fields import Name, Problems, Written, repeated, rule
from detour.config.model_config import token_problems
from detour.config.training import (
    Batch,
    Equivalence,
    Export,
    Freeze,
    Gate,
    Model,
    OneMinusSqrt,
    Optimizer,
    Phase,
    Probe,
    Seeds,
    Training,
    WarmupConstant,
    frozen_in_words,
)
from detour.text import suggestion

__all__ = [
    "Benchmark",
    "Equivalence",
    "Freeze",
    "Gate",
    "Model",
    "OneMinusSqrt",
    "Optimizer",
    "Phase",
    "Probe",
    "Recipe",
    "Seeds",
    "Source",
    "Split",
    "Task",
    "TaskData",
    "TaskSize",
    "Tokenizer",
    "TokenizerTraining",
    "Training",
    "WarmupConstant",
    "frozen_in_words",
]


class Recipe(Written):
    """One chain: prepare -> (pretrain -> promote) per phase -> export -> evaluate (task x seed) -> summarize."""

    name: Name
    """Name of the chain: of its folder, its jobs and its line in the report."""
    description: str = ""
    """A one-line description for people."""
    model: Model
    """The weights that the first phase starts from."""
    tokenizer: Tokenizer = Tokenizer()
    """The tokenizer, by default the model's."""
    data: Data
    """The corpus."""
    batch: Batch
    """Size of an optimizer step."""
    optimizer: Optimizer
    """Decoupled AdamW."""
    phases: tuple[Phase, ...] = Field(min_length=1)
    """The phases to train, in order."""
    seeds: Seeds = Seeds()
    """Seeds of the random numbers."""
    training: Training = Training()
    """How the training runs."""
    export: Export = Export()
    """The exported model, a folder that `transformers` loads."""
    benchmark: Benchmark | None = None
    """The benchmark: inline, a file, or the name of one in `configs/benchmarks`."""

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step, over all GPUs."""
        return self.batch.sequences * self.data.sequence_length

    @rule
    def _names_are_unique(self) -> Problems:
        return repeated("phases", [phase.name for phase in self.phases])

    @rule
    def _phases_have_steps(self) -> Problems:
        for index, phase in enumerate(self.phases):
            if phase.tokens < self.step_tokens:
                message = (
                    f"{phase.tokens:,} are less than one step of {self.step_tokens:,} "
                    "(batch.sequences x data.sequence_length)"
                )
                yield ("phases", index, "tokens"), message

    @rule
    def _first_phase_restarts_nothing(self) -> Problems:
        if self.phases[0].data == "restart":
            yield ("phases", 0, "data"), "the first phase starts at the first row anyway: remove it"

    @rule
    def _microbatch_is_part_of_the_batch(self) -> Problems:
        microbatch = self.batch.microbatch_sequences
        if microbatch != "auto" and microbatch > self.batch.sequences:
            message = f"{microbatch:,} are more than the batch's {self.batch.sequences:,}"
            yield ("batch", "microbatch_sequences"), message

    @rule
    def _random_weights_have_a_tokenizer(self) -> Problems:
        if isinstance(self.model.config, dict) and not (self.tokenizer.pretrained or self.tokenizer.train):
            message = "random weights have no tokenizer: set `tokenizer.train` or `tokenizer.pretrained`"
            yield ("tokenizer",), message

    @rule
    def _kernels_have_the_dropout(self) -> Problems:
        if (self.model.config or {}).get("attention_dropout") and self.training.attention not in ("sdpa", "eager"):
            message = "packed kernels have none: set it to 0, or `training.attention` to sdpa"
            yield ("model", "config", "attention_dropout"), message

    @rule
    def _vocabulary_fits(self) -> Problems:
        config, training = self.model.config or {}, self.tokenizer.train
        vocabulary = config.get("vocab_size")
        if training is not None and isinstance(vocabulary, int) and vocabulary < training.vocabulary:
            message = f"{vocabulary:,} are fewer than the tokenizer's {training.vocabulary:,}: leave it out"
            return [(("model", "config", "vocab_size"), message)]
        if vocabulary is None and training is not None:
            vocabulary = training.vocabulary
        problems = token_problems(config, vocabulary) if isinstance(vocabulary, int) else ()
        return [(("model", "config", *path), message) for path, message in problems]

    @rule
    def _frozen_layers_are_there(self) -> Problems:
        """Checked only if the recipe states the number of layers; otherwise the training checks it."""
        layers = (self.model.config or {}).get("num_hidden_layers")
        if not isinstance(layers, int):
            return []
        return [
            (("phases", i, "freeze", j, "last"), f"the model has {layers} layers, 0 to {layers - 1}")
            for i, phase in enumerate(self.phases)
            for j, freeze in enumerate(phase.freeze)
            if freeze.last >= layers
        ]

    @rule
    def _probes_have_a_task_and_a_score(self) -> Problems:
        tasks = {task.name: task for task in self.benchmark.tasks} if self.benchmark else {}
        known = f"it has {', '.join(tasks)}" if tasks else "there is none"
        for index, phase in enumerate(self.phases):
            probe, at = phase.gate.probe, ("phases", index, "gate", "probe")
            if probe is None:
                continue
            if probe.task not in tasks:
                yield (*at, "task"), f"`{probe.task}` is not a task of the benchmark: {known}"
            elif probe.metric is not None and probe.metric not in tasks[probe.task].metrics:
                hint = suggestion(probe.metric, tasks[probe.task].metrics)
                yield (*at, "metric"), f"{probe.task} has no such score{hint}"
