"""What a person writes: one chain, from text to evaluated encoder, as immutable, fully typed models.

Unknown keys are refused everywhere. Quantities accept what people write (`10B`, `0.25B`, `20h`); see `quantities`.
Which fields determine a result, and so belong to a stage's key, is decided in `detour.planning`, not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    PlainSerializer,
    model_validator,
)

from detour.canonical import digest
from detour.config.model_config import config_problems
from detour.config.problems import Inconsistent, KeyPath
from detour.config.quantities import parse_count, parse_duration_s, write_duration

MAX_COUNT = 10**15
MAX_DURATION_S = 366 * 86_400
Count = Annotated[int, Field(gt=0, le=MAX_COUNT), BeforeValidator(parse_count)]
"""A positive number of tokens, rows or sequences; `10B`, `100M`, `0.25B`, `3_145_728`."""
WITH_UNITS = {"units": True}
"""Context of a dump that is to be read again: durations with their unit."""


def _dumped_duration(seconds: int, info: FieldSerializationInfo) -> int | str:
    return write_duration(seconds) if info.context == WITH_UNITS else seconds


Duration = Annotated[
    int, Field(gt=0, le=MAX_DURATION_S), BeforeValidator(parse_duration_s), PlainSerializer(_dumped_duration)
]
"""Seconds; `20h`, `90m`, `1h30`, `02:00:00`."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Objective = Literal["causal", "masked"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Lower-case name fit for folders, job names and Slurm comments."""
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


def _has_letters(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: write a value, or leave the key out")
    return text


Filled = Annotated[str, AfterValidator(_has_letters)]
"""A name in a file or on a hub: of any form, but not empty."""
Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression, checked when the recipe is read."""


def added(default: Any, **constraints: Any) -> Any:
    """A key that recipes did not always have: at its default it is not dumped, and so changes the key of no stage that
    was planned before."""
    return Field(default=default, exclude_if=lambda value: value == default, **constraints)


class Written(BaseModel):
    """Base of everything read from YAML: immutable, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """The model in JSON values, defaults included; made once, so it must not be changed."""
        return self.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """Equal for equal content: what plans recognise shared parts by."""
        return digest(self.as_json)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As in pydantic, but without what was computed from the fields before the update."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("as_json", "digest"):
            copied.__dict__.pop(name, None)
        return copied


def repeated(key: str, names: Sequence[str | int]) -> list[tuple[KeyPath, str]]:
    """A problem for each item of the list `key` whose name another one ahead of it has."""
    return [
        ((key, index), f"`{name}` is there twice: names are unique")
        for index, name in enumerate(names)
        if name in names[:index]
    ]


class File(Written):
    """A file on disk (`path`, globs allowed, relative to the YAML file that names it) or inside a Python package."""

    path: str
    """File or glob pattern; relative to the YAML file that names it, or to `package`."""
    package: str | None = None
    """Importable package that ships the file; `path` is then relative to the package."""


class Source(File):
    """One text corpus. Rows come from jsonl, parquet, csv columns or plain text (one document a file)."""

    name: Name
    """Names the source in overrides, messages and the corpus."""
    format: Literal["auto", "jsonl", "parquet", "csv", "text"] = "auto"
    """`auto` goes by the file name; `.gz` and `.zst` are unpacked by what the file starts with."""
    column: Filled = "text"
    """Column or JSON field that holds the document."""
    separator: str = ","
    """Between the fields of a CSV file."""
    quoting: Literal["auto", "double", "none"] = added("auto")
    """CSV: `double` marks enclose a field and are doubled inside it, `none` takes them as they are; `auto` is `none`
    for files named `.tsv`."""
    exclude: dict[str, Pattern] = {}
    """Column -> regular expression; rows that match (at the start) are left out."""
    weight: float = Field(default=1.0, ge=0.0)
    """Share of this source in the mix, relative to the sum of all weights."""


class TokenizerTraining(Written):
    """A byte-level BPE learnt from the recipe's own sources."""

    vocabulary: Count
    """Tokens, the five special ones and the 256 bytes included."""
    documents: Count | None = None
    """Documents read for training, None for all."""


class Tokenizer(Written):
    pretrained: Filled | None = None
    """Hub id or local folder; defaults to the model's."""
    revision: Filled | None = None
    """Branch, tag or commit on the hub."""
    train: TokenizerTraining | None = None
    """Learn one instead; needed where the model starts from random weights."""

    @model_validator(mode="after")
    def _one_origin(self) -> Tokenizer:
        if self.pretrained and self.train:
            raise ValueError("give either `pretrained` or `train`, not both")
        return self


class Model(Written):
    """Start from published weights (`pretrained`) or from random ones (`config`, fields of ModernBertConfig)."""

    pretrained: Filled | None = None
    """Hub id or local folder."""
    revision: Filled | None = None
    """Branch, tag or commit on the hub."""
    head: Literal["pretrained", "new"] = added("pretrained")
    """`new`: the weights are an encoder's alone, and its masked-LM head starts from random ones."""
    config: dict[str, Any] | None = None
    """Fields of ModernBertConfig; vocabulary, special tokens and context are the corpus's unless given."""

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if (self.pretrained is None) == (self.config is None):
            raise ValueError("give either `pretrained` (hub id or folder) or `config` (random weights)")
        if self.head == "new" and self.config is not None:
            raise Inconsistent([(("head",), "random weights have a new head anyway: remove it")])
        if problems := config_problems(self.config or {}):
            raise Inconsistent([(("config", *path), message) for path, message in problems])
        return self


class Data(Written):
    sources: tuple[Source, ...] = Field(min_length=1)
    """The corpora; rows are mixed by their weights, each corpus in a shuffled order of its documents."""
    sequence_length: Count
    """Tokens a packed row; documents longer than this are cut into several."""
    validation_tokens: Count
    """Tokens set aside, from whole documents, before anything is trained on."""
    repeats: Literal["keep", "drop"] = added("keep")
    """`drop`: of documents that are equal to the tokenizer, in all sources, only the first one is used."""

    @model_validator(mode="after")
    def _mix_is_possible(self) -> Data:
        problems = repeated("sources", [source.name for source in self.sources])
        if sum(source.weight for source in self.sources) <= 0:
            message = "the weights of all sources sum to 0: give at least one a positive weight"
            problems.append((("sources",), message))
        if problems:
            raise Inconsistent(problems)
        return self


class Batch(Written):
    sequences: Count
    """Packed rows a step, over all GPUs."""
    microbatch_sequences: Count = 1
    """Rows a forward pass on one device; changes memory and speed, not the result."""


class Optimizer(Written):
    """Decoupled AdamW; biases and norms are never decayed."""

    lr: float = Field(gt=0)
    """Peak learning rate; the schedules are shares of it."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.98)
    """Decay of the first and second moment."""
    eps: float = Field(default=1e-6, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """A step at the peak rate shrinks a weight by this share."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest global gradient norm."""


class WarmupConstant(Written):
    """Linear from 0 to the peak over `warmup` tokens, then constant."""

    kind: Literal["warmup_constant"]
    """Says which schedule this is."""
    warmup: Annotated[int, Field(ge=0, le=MAX_COUNT), BeforeValidator(parse_count)] = 0
    """Tokens, rounded up to whole steps."""


class OneMinusSqrt(Written):
    """lr = peak * (floor + (1 - floor) * (1 - sqrt(t / T))), over the whole phase."""

    kind: Literal["one_minus_sqrt"]
    """Says which schedule this is."""
    floor: Fraction = 0.1
    """Last lr as a share of the peak."""


Schedule = Annotated[WarmupConstant | OneMinusSqrt, Field(discriminator="kind")]


class Freeze(Written):
    """Encoder layers held fixed, `first` to `last`, both included, counted from 0."""

    first: int = Field(ge=0)
    """First layer held."""
    last: int = Field(ge=0)
    """Last layer held."""
    embeddings: bool = False
    """Hold the embeddings too; they are also the output matrix."""

    @model_validator(mode="after")
    def _ordered(self) -> Freeze:
        if self.last < self.first:
            raise Inconsistent([(("last",), f"{self.last} is before `first`, {self.first}")])
        return self


class Gate(Written):
    """What a checkpoint must reach to be promoted."""

    validation_loss_drop: float = 0.0
    """Least fall of the validation loss under this phase's objective, in nats, from the weights it started with."""


class Phase(Written):
    name: Name
    """Names the phase in overrides, in the plan and in the report."""
    objective: Objective
    """`causal`: predict every next token; `masked`: predict masked tokens, seeing both sides."""
    tokens: Count
    """Tokens to train on, rounded up to whole steps."""
    masking_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of tokens to predict; for a masked phase, and required there."""
    mask_special_tokens: bool = added(False)
    """Choose among all tokens of a row but padding, [CLS] and [SEP] too; for a masked phase."""
    schedule: Schedule
    """Learning rate over the phase."""
    freeze: tuple[Freeze, ...] = ()
    """Ranges of layers that are not trained."""
    carry: Literal["weights", "weights+optimizer"] = "weights+optimizer"
    """What is taken over from the phase before; the schedule always starts anew."""
    data: Literal["continue", "restart"] = added("continue")
    """`continue` where the phase before stopped, or `restart` at the corpus's first row."""
    attention_output_dropout: float = added(0.0, ge=0, lt=1)
    """Dropout behind each attention's output matrix, in this phase's training."""
    gate: Gate = Gate()
    """When its checkpoint may be built on."""

    @model_validator(mode="after")
    def _masking_fits_objective(self) -> Phase:
        problems: list[tuple[KeyPath, str]] = []
        if self.objective == "masked" and self.masking_rate is None:
            problems.append(((), "a masked phase needs a `masking_rate`, as 0.15 or 0.30"))
        if self.objective == "causal" and self.masking_rate is not None:
            problems.append((("masking_rate",), "a causal phase predicts every next token: remove it"))
        if self.objective == "causal" and self.mask_special_tokens:
            problems.append((("mask_special_tokens",), "a causal phase masks nothing: remove it"))
        if isinstance(self.schedule, WarmupConstant) and self.schedule.warmup > self.tokens:
            message = f"{self.schedule.warmup:,} tokens are more than the phase's {self.tokens:,}"
            problems.append((("schedule", "warmup"), message))
        if problems:
            raise Inconsistent(problems)
        return self


class Seeds(Written):
    training: Seed = 17
    """Masks, dropout and the weights of a model that starts from random ones."""
    shuffle: Seed = 42
    """Order of the documents and draw of the validation ones."""


class Training(Written):
    """How the training runs; none of it changes what is learnt beyond rounding, except `precision`."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device has it, else fp32."""
    attention: Literal["auto", "varlen", "sdpa", "eager", "flash_attention_2"] = "auto"
    """`auto` is the fastest measured on the device: torch's own variable-length kernels."""
    cross_entropy: Literal["auto", "full", "chunked"] = "auto"
    """`chunked` (and `auto`) never holds the logits of all tokens, `full` does."""
    compile: bool = False
    """torch.compile over the encoder: slow first steps, then faster ones on a GPU."""
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    checkpoints_kept: Count = 2
    """Newest good ones to keep while a phase runs."""
    validate_every: Count | None = None
    """Steps between validations, None for start and end only."""
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Composer loggers, offline, written under the stage's folder."""


class TaskData(File):
    format: Literal["auto", "jsonl", "parquet", "csv"] = "auto"
    """`auto` goes by the file name."""
    separator: str = ","
    """Between the fields of a CSV file."""
    quoting: Literal["auto", "double", "none"] = added("auto")
    """CSV: `double` marks enclose a field and are doubled inside it, `none` takes them as they are; `auto` is `none`
    for files named `.tsv`."""
    text: Filled = "text"
    """Column of the document."""
    label: Filled = "label"
    """Column of the label, or of the list of labels."""
    label_format: Literal["auto", "name", "list", "vector"] = added("auto")
    """`name`: text as it is; `list`: a list, also written as text; `vector`: a 0 or 1 a label, named by its position;
    `auto`: a name or a list of names, and what looks like another kind is refused."""
    label_separator: str | None = added(None, min_length=1)
    """Splits a text into several labels, as `;`."""
    label_map: Literal["icd10_chapter"] | None = None
    """Named function that turns the column into the label."""
    exclude: dict[str, Pattern] = {}
    """Column -> regular expression; rows that match (at the start) are left out."""
    annotation: Literal["brat"] | None = None
    """Entities beside the text, as `.ann` standoff files; `label` is then not read."""
    split_column: Filled | None = None
    """Column that says `train`, `validation` or `test`, where the data come with their own split."""

    @model_validator(mode="after")
    def _one_way_to_read_labels(self) -> TaskData:
        if self.label_separator and self.label_format != "auto":
            raise Inconsistent([(("label_separator",), f"`label_format` says {self.label_format}: give one of them")])
        return self


class Split(Written):
    """Documents drawn without replacement in a seeded order, the same for every model."""

    train: Count
    """Documents or percent to train on."""
    validation: Count
    """Documents or percent by which the best epoch is chosen."""
    test: Count
    """Documents or percent that the score is of."""
    unit: Literal["documents", "percent"] = "documents"
    """What the three numbers count."""
    seed: Seed = 42
    """Draws the split."""

    @model_validator(mode="after")
    def _percents_sum_up(self) -> Split:
        total = self.train + self.validation + self.test
        if self.unit == "percent" and total != 100:
            raise ValueError(f"train, validation and test are {total} percent together, not 100")
        return self


class TaskSize(Written):
    """How many documents a task has, all splits together, where that is published; for prices, and in no key."""

    count: Count
    """Documents, all splits together."""
    source: str
    """Where the number was read."""


class Task(Written):
    """One fine-tuning task; every (task, seed) is a stage of its own."""

    name: Name
    """Names the task in overrides and in the report."""
    type: Literal["single_label", "multilabel", "ner"]
    """One label, several, or entities a document; `ner` can be planned and priced, not run yet."""
    data: TaskData | None = None
    """Where its documents are; a task without data can be planned and priced, not run."""
    split: Split | None = None
    """How they are divided, unless `data.split_column` says."""
    documents: TaskSize | None = None
    """How many there are, where that is published: a price for a task whose data are not here."""
    max_length: Count
    """Tokens; longer documents are cut."""
    epochs: Count | None = None
    """Passes over the training documents; or give `steps`."""
    steps: Count | None = None
    """Optimizer steps; or give `epochs`."""
    batch_sequences: Count = 4
    """Documents a step."""
    lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate; falls linearly to 0 after the warm-up."""
    head_lr: float | None = Field(default=None, gt=0)
    """Of the new head, None for the same `lr`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    warmup: Fraction = 0.1
    """Share of all steps."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Largest global gradient norm, None for no clipping."""
    validate_every: Count | None = None
    """Steps between validations, None for once an epoch; the best checkpoint by validation F1 is tested."""
    pooling: Literal["first", "mean"] = "first"
    """What the head reads: the first token, or the mean over all."""
    top_labels: Count | None = None
    """Only the most frequent labels, None for all."""
    positive_weights: bool = False
    """Multilabel: weight each label's positives by their rarity (`pos_weight` of the BCE)."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Multilabel: probability from which a label is given; the most probable one where none reaches it."""

    @model_validator(mode="after")
    def _one_length(self) -> Task:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        return self


class Benchmark(Written):
    name: Name
    """Names the benchmark in the report."""
    tasks: tuple[Task, ...] = Field(min_length=1)
    """What the exported encoder is fine-tuned on."""
    seeds: tuple[Seed, ...] = Field(min_length=1)
    """Each task is fine-tuned once for each of them."""

    @model_validator(mode="after")
    def _distinct(self) -> Benchmark:
        problems = repeated("tasks", [task.name for task in self.tasks]) + repeated("seeds", self.seeds)
        if problems:
            raise Inconsistent(problems)
        return self


class Export(Written):
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the exported weights."""
    classifier_pooling: Literal["cls", "mean"] | None = added(None)
    """What a classifier that transformers builds on the export reads, None for what the model's config says."""


class Recipe(Written):
    """One chain: prepare -> (pretrain -> promote) a phase -> export -> evaluate (task x seed) -> summarize."""

    name: Name
    """Names the chain: its folder, its jobs, its line in the report."""
    description: str = ""
    """One line for people."""
    model: Model
    """The weights that phase 1 starts from."""
    tokenizer: Tokenizer = Tokenizer()
    """Defaults to the model's."""
    data: Data
    """The corpus."""
    batch: Batch
    """Size of a step."""
    optimizer: Optimizer
    """Decoupled AdamW."""
    phases: tuple[Phase, ...] = Field(min_length=1)
    """What is trained, one after the other."""
    seeds: Seeds = Seeds()
    """Random numbers."""
    training: Training = Training()
    """How it runs."""
    export: Export = Export()
    """The folder that `transformers` loads."""
    benchmark: Benchmark | None = None
    """Inline, or the name of a file in `configs/benchmarks`."""

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step, over all GPUs."""
        return self.batch.sequences * self.data.sequence_length

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        problems = repeated("phases", [phase.name for phase in self.phases])
        if self.phases[0].data == "restart":
            problems.append((("phases", 0, "data"), "the first phase starts at the first row anyway: remove it"))
        for index, phase in enumerate(self.phases):
            if phase.tokens < self.step_tokens:
                message = (
                    f"{phase.tokens:,} are less than one step of {self.step_tokens:,} "
                    "(batch.sequences x data.sequence_length)"
                )
                problems.append((("phases", index, "tokens"), message))
        if self.batch.microbatch_sequences > self.batch.sequences:
            message = f"{self.batch.microbatch_sequences:,} are more than the batch's {self.batch.sequences:,}"
            problems.append((("batch", "microbatch_sequences"), message))
        if self.model.config is not None and not (self.tokenizer.pretrained or self.tokenizer.train):
            message = "random weights have no tokenizer: set `tokenizer.train` or `tokenizer.pretrained`"
            problems.append((("tokenizer",), message))
        problems += self._frozen_layers_that_are_not_there()
        if problems:
            raise Inconsistent(problems)
        return self

    def _frozen_layers_that_are_not_there(self) -> list[tuple[KeyPath, str]]:
        """Checked where the recipe itself says how many layers there are; else the training does."""
        layers = (self.model.config or {}).get("num_hidden_layers")
        if not isinstance(layers, int):
            return []
        return [
            (("phases", i, "freeze", j, "last"), f"the model has {layers} layers, 0 to {layers - 1}")
            for i, phase in enumerate(self.phases)
            for j, freeze in enumerate(phase.freeze)
            if freeze.last >= layers
        ]
