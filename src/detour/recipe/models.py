"""What a person writes: one chain, from text to evaluated encoder, as immutable, fully typed models.

Unknown keys are refused everywhere. Quantities accept what people write (`10B`, `0.25B`, `20h`); see `quantities`.
Which fields determine a result, and so belong to a stage's key, is decided in `detour.plan`, not here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from detour.recipe.quantities import parse_count, parse_duration_s

Count = Annotated[int, BeforeValidator(parse_count), Field(gt=0)]
"""A positive number of tokens, rows or sequences; `10B`, `100M`, `0.25B`, `3_145_728`."""
Duration = Annotated[int, BeforeValidator(parse_duration_s), Field(gt=0)]
"""Seconds; `20h`, `90m`, `1h30`, `02:00:00`."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Lower-case name fit for folders, job names and Slurm comments."""
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Written(BaseModel):
    """Base of everything read from YAML: immutable, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class File(Written):
    """A file beside the recipe (`path`, globs allowed, relative to the file it is written in) or inside a Python package."""

    path: str
    package: str | None = None
    """Importable package that ships the file; `path` is then relative to the package."""


class Source(File):
    """One text corpus. Rows come from jsonl, parquet, csv columns or plain text (one document a file)."""

    name: Name
    format: Literal["auto", "jsonl", "parquet", "csv", "text"] = "auto"
    column: str = "text"
    """Column or JSON field that holds the document."""
    separator: str = ","
    exclude: dict[str, str] = {}
    """Column -> regular expression; rows that match (at the start) are left out."""
    weight: float = Field(default=1.0, ge=0.0)
    """Share of this source in the mix, relative to the sum of all weights."""


class TokenizerTraining(Written):
    """A byte-level BPE learnt from the recipe's own sources."""

    vocabulary: Count
    documents: Count | None = None
    """Documents read for training, None for all."""


class Tokenizer(Written):
    pretrained: str | None = None
    """Hub id or local folder; defaults to the model's."""
    revision: str | None = None
    train: TokenizerTraining | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Tokenizer:
        if self.pretrained and self.train:
            raise ValueError("give either `pretrained` or `train`, not both")
        return self


class Model(Written):
    """Start from published weights (`pretrained`) or from random ones (`config`, fields of ModernBertConfig)."""

    pretrained: str | None = None
    """Hub id or local folder."""
    revision: str | None = None
    config: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if (self.pretrained is None) == (self.config is None):
            raise ValueError("give either `pretrained` (hub id or folder) or `config` (random weights)")
        return self


class Data(Written):
    sources: tuple[Source, ...] = Field(min_length=1)
    sequence_length: Count
    """Tokens a packed row; documents longer than this are cut into several."""
    validation_tokens: Count
    """Tokens set aside, from whole documents, before anything is trained on."""

    @model_validator(mode="after")
    def _mix_is_possible(self) -> Data:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("two sources have the same name")
        if sum(source.weight for source in self.sources) <= 0:
            raise ValueError("the weights of all sources sum to 0: give at least one a positive weight")
        return self


class Batch(Written):
    sequences: Count
    """Packed rows a step, over all GPUs."""
    microbatch_sequences: Count = 1
    """Rows a forward pass on one device; changes memory and speed, not the result."""


class Optimizer(Written):
    """Decoupled AdamW; biases and norms are never decayed."""

    lr: float = Field(gt=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.98)
    eps: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest global gradient norm."""


class WarmupConstant(Written):
    """Linear from 0 to the peak over `warmup` tokens, then constant."""

    kind: Literal["warmup_constant"]
    warmup: Annotated[int, BeforeValidator(parse_count), Field(ge=0)] = 0


class OneMinusSqrt(Written):
    """lr = peak * (floor + (1 - floor) * (1 - sqrt(t / T))), over the whole phase."""

    kind: Literal["one_minus_sqrt"]
    floor: Fraction = 0.1
    """Last lr as a share of the peak."""


Schedule = Annotated[WarmupConstant | OneMinusSqrt, Field(discriminator="kind")]


class Freeze(Written):
    """Encoder layers held fixed, `first` to `last`, both included, counted from 0."""

    first: int = Field(ge=0)
    last: int = Field(ge=0)
    embeddings: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Freeze:
        if self.last < self.first:
            raise ValueError(f"`last` ({self.last}) is before `first` ({self.first})")
        return self


class Gate(Written):
    """What a checkpoint must reach to be promoted."""

    validation_loss_drop: float = 0.0
    """Least fall of the validation loss, under this phase's objective, against the weights the phase started from, in nats."""


class Phase(Written):
    name: Name
    objective: Literal["causal", "masked"]
    tokens: Count
    masking_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    schedule: Schedule
    freeze: tuple[Freeze, ...] = ()
    carry: Literal["weights", "weights+optimizer"] = "weights+optimizer"
    """What is taken over from the phase before; the schedule always starts anew."""
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _masking_fits_objective(self) -> Phase:
        if self.objective == "masked" and self.masking_rate is None:
            raise ValueError("a masked phase needs `masking_rate` (0.15 or 0.30, say)")
        if self.objective == "causal" and self.masking_rate is not None:
            raise ValueError("a causal phase predicts every next token: remove `masking_rate`")
        if isinstance(self.schedule, WarmupConstant) and self.schedule.warmup > self.tokens:
            raise ValueError("the warm-up is longer than the phase")
        return self


class Seeds(Written):
    training: int = Field(default=17, ge=0)
    shuffle: int = Field(default=42, ge=0)


class Training(Written):
    """How the training runs; none of it changes what is learnt beyond rounding, except `precision`."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device has it, else fp32."""
    attention: Literal["auto", "varlen", "sdpa", "eager", "flash_attention_2"] = "auto"
    cross_entropy: Literal["auto", "full", "chunked"] = "auto"
    compile: bool = False
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    checkpoints_kept: Count = 2
    validate_every: Count | None = None
    """Steps between validations, None for start and end only."""
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Composer loggers, offline, written under the stage's folder."""


class TaskData(File):
    format: Literal["auto", "jsonl", "parquet", "csv"] = "auto"
    separator: str = ","
    text: str
    """Column of the document."""
    label: str
    """Column of the label, or of the list of labels."""
    label_map: Literal["icd10_chapter"] | None = None
    """Named function that turns the column into the label."""
    exclude: dict[str, str] = {}


class Split(Written):
    """Documents drawn without replacement in a seeded order, the same for every model."""

    train: Count
    validation: Count
    test: Count
    seed: int = 42


class Task(Written):
    """One fine-tuning task; every (task, seed) is a stage of its own."""

    name: Name
    type: Literal["single_label", "multilabel", "ner"]
    data: TaskData | None = None
    split: Split | None = None
    max_length: Count
    epochs: Count | None = None
    steps: Count | None = None
    batch_sequences: Count = 4
    lr: float = Field(default=2e-5, gt=0)
    head_lr: float | None = Field(default=None, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: Fraction = 0.1
    pooling: Literal["first", "mean"] = "first"

    @model_validator(mode="after")
    def _one_length(self) -> Task:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        return self


class Benchmark(Written):
    name: Name
    tasks: tuple[Task, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Benchmark:
        if len({task.name for task in self.tasks}) != len(self.tasks):
            raise ValueError("two tasks have the same name")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed is listed twice")
        return self


class Export(Written):
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


class Recipe(Written):
    """One chain: prepare -> (pretrain -> promote) a phase -> export -> evaluate (task x seed) -> summarize."""

    name: Name
    description: str = ""
    model: Model
    tokenizer: Tokenizer = Tokenizer()
    data: Data
    batch: Batch
    optimizer: Optimizer
    phases: tuple[Phase, ...] = Field(min_length=1)
    seeds: Seeds = Seeds()
    training: Training = Training()
    export: Export = Export()
    benchmark: Benchmark | None = None
    """Inline, or the name of a file in `configs/benchmarks`."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError("two phases have the same name")
        step_tokens = self.batch.sequences * self.data.sequence_length
        for phase in self.phases:
            if phase.tokens < step_tokens:
                raise ValueError(
                    f"phase {phase.name}: {phase.tokens:,} tokens are less than one step of {step_tokens:,} "
                    "(batch.sequences x data.sequence_length)"
                )
        if (
            self.model.config is not None
            and self.tokenizer.pretrained is None
            and self.tokenizer.train is None
        ):
            raise ValueError(
                "random weights have no tokenizer: set `tokenizer.train` or `tokenizer.pretrained`"
            )
        return self
