"""The model of a recipe, the phases that train it, and its export."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The initial weights: published ones (`pretrained`) or random ones (`config`, fields of ModernBertConfig)."""

    pretrained: Filled | None = None
    """Hub id or local folder."""
    revision: Filled | None = None
    """Branch, tag or commit on the hub."""
    head: Literal["pretrained", "new"] = added("pretrained")
    """`new`: the weights are those of an encoder only, and the masked-LM head starts from random ones."""
    config: dict[str, Any] | None = None
    """Fields of ModernBertConfig; vocabulary, special tokens and context default to the corpus's."""

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
    """Packed rows per step, over all GPUs."""
    microbatch_sequences: Count | Literal["auto"] = 1
    """Rows per forward pass on one device; affects memory and speed, and of the result only what dropout drops. `auto`:
    as many as fit in its memory, measured at the start."""


class Optimizer(Written):
    """Decoupled AdamW; biases and norms are never decayed."""

    lr: Positive
    """Peak learning rate, which the schedules scale."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.98)
    """Decay rates of the first and second moments."""
    eps: Positive = 1e-6
    """Term added to the square root of the second moment."""
    weight_decay: NotNegative = 1e-5
    """Share by which a step at the peak rate shrinks a weight."""
    gradient_clip: Positive = 1.0
    """Maximum global gradient norm."""


class WarmupConstant(Written):
    """Linear warm-up from 0 to the peak over `warmup` tokens, then constant."""

    kind: Literal["warmup_constant"]
    """Kind of schedule."""
    warmup: Annotated[int, Field(ge=0, le=MAX_COUNT), BeforeValidator(parse_count)] = 0
    """Tokens of the warm-up, rounded up to whole steps."""


class OneMinusSqrt(Written):
    """lr = peak * (floor + (1 - floor) * (1 - sqrt(t / T))), over the whole phase."""

    kind: Literal["one_minus_sqrt"]
    """Kind of schedule."""
    floor: Fraction = 0.1
    """Final lr as a share of the peak."""


Schedule = Annotated[WarmupConstant | OneMinusSqrt, Field(discriminator="kind")]


class Freeze(Written):
    """Encoder layers to freeze: `first` to `last`, inclusive, counted from 0."""

    first: Whole
    """First frozen layer."""
    last: Whole
    """Last frozen layer."""
    embeddings: bool = False
    """Freeze the embeddings too; they are also the output matrix."""

    @model_validator(mode="after")
    def _ordered(self) -> Freeze:
        if self.last < self.first:
            raise Inconsistent([(("last",), f"{self.last} is before `first`, {self.first}")])
        return self


def frozen_in_words(freeze: Sequence[Freeze]) -> str | None:
    """`layers 0-7 and embeddings`; None if nothing is frozen."""
    if not freeze:
        return None
    layers = [str(held.first) if held.first == held.last else f"{held.first}-{held.last}" for held in freeze]
    word = "layer" if layers == [str(freeze[0].first)] else "layers"
    embeddings = " and embeddings" if any(held.embeddings for held in freeze) else ""
    return f"{word} {', '.join(layers)}{embeddings}"


class Baseline(Written):
    """The result of another model, given as a figure so that the promotion does not wait for that model."""

    validation_loss: Positive
    """Nats per predicted token, under this phase's objective and on the same validation split."""
    source: Filled
    """Source of the figure, for example a chain's name."""
    margin: Number = 0.0
    """Nats by which the validation loss must be below the figure; a negative margin allows it to be above."""


class Band(Written):
    least: Positive | None = None
    """Minimum; a lower value means that something is wrong, such as training on the validation text."""
    most: Positive | None = None
    """Maximum; a higher value means that the training failed."""

    @model_validator(mode="after")
    def _has_room(self) -> Band:
        if self.least is None and self.most is None:
            raise ValueError("give `least`, `most` or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise Inconsistent([(("most",), f"{self.most:g} is below `least`, {self.least:g}")])
        return self


class GradientNorms(Written):
    """Gradient norms before clipping, one per step."""

    most: Positive
    """Maximum norm of any step looked at."""
    last: Count | None = None
    """Number of steps looked at, counted from the end; None for all."""
    skipped: Whole | None = None
    """Maximum number of steps skipped because their gradient was not finite; None for any number."""


class Probe(Written):
    """A fine-tuning run on the checkpoint itself, before any other stage builds on it."""

    task: Name
    """One of the benchmark's tasks."""
    least: Fraction
    """Minimum validation score, 0 to 1."""
    metric: Filled | None = None
    """For example `macro_f1`; None for the task's primary metric."""
    seed: Seed = 42
    """Seed of the fine-tuning."""


class Gate(Written):
    """What a checkpoint must reach to be promoted, in addition to being complete, finite and of its phase."""

    validation_loss_drop: Number = 0.0
    """Minimum drop of the validation loss from the initial weights, in nats, under this phase's objective."""
    baseline: Baseline | None = added(None)
    """Validation loss of another model to beat."""
    perplexity: Band | None = added(None)
    """Bounds of e to the power of the validation loss."""
    gradient_norm: GradientNorms | None = added(None)
    """Bounds of the gradient norms during training."""
    probe: Probe | None = added(None)
    """Minimum score on a task."""


class Phase(Written):
    name: Name
    """Name of the phase in overrides, in the plan and in the report."""
    objective: Objective
    """`causal`: predict every next token; `masked`: predict masked tokens, seeing both sides."""
    tokens: Count
    """Tokens to train on, rounded up to whole steps."""
    masking_rate: ProperFraction | None = None
    """Share of tokens to predict; required for a masked phase, and only allowed there."""
    mask_special_tokens: bool = added(False)
    """Masked phases only: mask any token of a row except padding, including [CLS] and [SEP]."""
    schedule: Schedule
    """Learning rate schedule over the phase."""
    freeze: tuple[Freeze, ...] = ()
    """Ranges of layers that are not trained in this phase."""
    carry: Literal["weights", "weights+optimizer"] = "weights+optimizer"
    """What is carried over from the previous phase; the schedule always restarts."""
    data: Literal["continue", "restart"] = added("continue")
    """`continue` where the previous phase stopped, or `restart` at the corpus's first row."""
    attention_output_dropout: BelowOne = added(0.0)
    """Dropout after each attention output matrix during this phase's training."""
    gate: Gate = Gate()
    """Conditions under which its checkpoint is promoted."""

    @model_validator(mode="after")
    def _masking_fits_objective(self) -> Phase:
        problems: list[tuple[KeyPath, str]] = []
        if self.objective == "masked" and self.masking_rate is None:
            problems.append(((), "a masked phase needs a `masking_rate`, such as 0.15 or 0.30"))
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
    """Seed of masks, dropout and random initial weights."""
    shuffle: Seed = 42
    """Seed of the document order and of the draw of validation documents."""


Precision = Literal["auto", "fp32", "bf16", "bf16_residual"]


class Training(Written):
    """How the training runs. Only `precision` changes the result by more than rounding."""

    precision: Precision = "auto"
    """`auto`: bf16 if the device supports it, otherwise fp32. `bf16_residual` also keeps the residual stream in bf16,
    which is faster and rounds more."""
    attention: Literal[
        "auto", "varlen", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flash_attention_4"
    ] = "auto"
    """`auto`: the fastest on the device, measured at the start, of torch's own variable-length kernels (`varlen`) and
    the installed flash-attention packages."""
    cross_entropy: Literal["auto", "full", "chunked"] = "auto"
    """`chunked` (and `auto`) never holds the logits of all tokens in memory; `full` does."""
    compile: bool = False
    """Compile every layer with torch.compile: the first steps are slow, later ones faster on a GPU."""
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    checkpoints_kept: Count = 2
    """Number of newest good checkpoints to keep while a phase runs."""
    validate_every: Count | None = None
    """Steps between validations, None to validate only at the start and the end."""
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Composer loggers to run offline, writing under the stage's folder."""


class Equivalence(Written):
    """Maximum relative differences of the exported model's logits, in the norm over all logits of real rows."""

    conversion: PositiveFraction = 1e-4
    """Maximum difference from the trainer's own forward pass, on the same weights."""
    rounding: PositiveFraction | None = None
    """Maximum difference from the fp32 weights; None for 1e-4 in float32 and 5e-2 in bfloat16."""


class Export(Written):
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Data type of the exported weights."""
    classifier_pooling: Literal["cls", "mean"] | None = added(None)
    """What a transformers classifier built on the export reads, None for the setting of the model's config."""
    equivalence: Equivalence | None = added(None)
    """Tolerances of the export's check, None for the defaults."""
