"""The model of a recipe, the phases that train it, and its export."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from detour.config.fields import (
    MAX_COUNT,
    BelowOne,
    Count,
    Filled,
    Fraction,
    Name,
    NotNegative,
    Number,
    Objective,
    Positive,
    PositiveFraction,
    ProperFraction,
    Seed,
    Whole,
    Written,
    added,
)
from detour.config.model_config import config_problems
from detour.config.problems import Inconsistent, KeyPath
from detour.config.quantities import parse_count


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


class Batch(Written):
    sequences: Count
    """Packed rows a step, over all GPUs."""
    microbatch_sequences: Count | Literal["auto"] = 1
    """Rows a forward pass on one device; changes memory and speed, not the result. `auto`: as many as fit its memory,
    measured at the start."""


class Optimizer(Written):
    """Decoupled AdamW; biases and norms are never decayed."""

    lr: Positive
    """Peak learning rate; the schedules are shares of it."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.98)
    """Decay of the first and second moment."""
    eps: Positive = 1e-6
    """Added to the root of the second moment."""
    weight_decay: NotNegative = 1e-5
    """A step at the peak rate shrinks a weight by this share."""
    gradient_clip: Positive = 1.0
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

    first: Whole
    """First layer held."""
    last: Whole
    """Last layer held."""
    embeddings: bool = False
    """Hold the embeddings too; they are also the output matrix."""

    @model_validator(mode="after")
    def _ordered(self) -> Freeze:
        if self.last < self.first:
            raise Inconsistent([(("last",), f"{self.last} is before `first`, {self.first}")])
        return self


class Baseline(Written):
    """What another model reached, as a figure with its source: a promotion does not wait for that model."""

    validation_loss: Positive
    """Nats a predicted token, under this phase's objective and on the same validation split."""
    source: Filled
    """Where the figure is from, as a chain's name."""
    margin: Number = 0.0
    """Nats by which the validation loss must be below it; negative to allow so much above."""


class Band(Written):
    least: Positive | None = None
    """Below it something is wrong, as validation text that was trained on."""
    most: Positive | None = None
    """Above it the training failed."""

    @model_validator(mode="after")
    def _has_room(self) -> Band:
        if self.least is None and self.most is None:
            raise ValueError("give `least`, `most` or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise Inconsistent([(("most",), f"{self.most:g} is below `least`, {self.least:g}")])
        return self


class GradientNorms(Written):
    """Norms before clipping, one a step."""

    most: Positive
    """Of any of the steps looked at."""
    last: Count | None = None
    """How many steps are looked at, from the end; None for all."""
    skipped: Whole | None = None
    """Most steps that were left out because their gradient was not finite; None for any number."""


class Probe(Written):
    """A fine-tuning of the checkpoint itself, before anything is built on it."""

    task: Name
    """One of the benchmark's."""
    least: Fraction
    """Least validation score, 0 to 1."""
    metric: Filled | None = None
    """As `macro_f1`; None for the task's primary one."""
    seed: Seed = 42
    """Of the fine-tuning."""


class Gate(Written):
    """What a checkpoint must reach to be promoted, beside being whole, finite and of its phase."""

    validation_loss_drop: Number = 0.0
    """Least fall of the validation loss under this phase's objective, in nats, from the weights it started with."""
    baseline: Baseline | None = added(None)
    """A validation loss of another model, to be below."""
    perplexity: Band | None = added(None)
    """e to the validation loss."""
    gradient_norm: GradientNorms | None = added(None)
    """History of the training."""
    probe: Probe | None = added(None)
    """Least score on a task."""


class Phase(Written):
    name: Name
    """Names the phase in overrides, in the plan and in the report."""
    objective: Objective
    """`causal`: predict every next token; `masked`: predict masked tokens, seeing both sides."""
    tokens: Count
    """Tokens to train on, rounded up to whole steps."""
    masking_rate: ProperFraction | None = None
    """Share of tokens to predict; for a masked phase, and required there."""
    mask_special_tokens: bool = added(False)
    """Choose among all tokens of a row but padding, [CLS] and [SEP] too; for a masked phase."""
    schedule: Schedule
    """Learning rate over the phase."""
    freeze: tuple[Freeze, ...] = ()
    """Ranges of layers that are not trained."""
    carry: Literal["weights", "weights+optimizer"] = "weights+optimizer"
    """What is taken over from the phase before; the schedule always restarts."""
    data: Literal["continue", "restart"] = added("continue")
    """`continue` where the phase before stopped, or `restart` at the corpus's first row."""
    attention_output_dropout: BelowOne = added(0.0)
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


Precision = Literal["auto", "fp32", "bf16", "bf16_residual"]


class Training(Written):
    """How the training runs; none of it changes what is learnt beyond rounding, except `precision`."""

    precision: Precision = "auto"
    """`auto`: bf16 where the device has it, else fp32. `bf16_residual` also keeps the sum between layers in bf16, which
    is faster and rounds more."""
    attention: Literal[
        "auto", "varlen", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flash_attention_4"
    ] = "auto"
    """`auto` is the fastest on the device, measured at the start, of torch's own variable-length kernels (`varlen`) and
    the flash-attention packages that are installed."""
    cross_entropy: Literal["auto", "full", "chunked"] = "auto"
    """`chunked` (and `auto`) never holds the logits of all tokens, `full` does."""
    compile: bool = False
    """torch.compile of every layer: slow first steps, then faster ones on a GPU."""
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    checkpoints_kept: Count = 2
    """Newest good ones to keep while a phase runs."""
    validate_every: Count | None = None
    """Steps between validations, None for start and end only."""
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Composer loggers, offline, written under the stage's folder."""


class Equivalence(Written):
    """How far the exported model's logits may be from the trained one's, in the norm over all logits of real rows."""

    conversion: PositiveFraction = 1e-4
    """Between the exported model and the trainer's own forward pass, on the same weights."""
    rounding: PositiveFraction | None = None
    """Between the exported model and the fp32 weights; None for 1e-4 in float32 and 5e-2 in bfloat16."""


class Export(Written):
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the exported weights."""
    classifier_pooling: Literal["cls", "mean"] | None = added(None)
    """What a classifier that transformers builds on the export reads, None for what the model's config says."""
    equivalence: Equivalence | None = added(None)
    """What the export is held against, None for the default."""
