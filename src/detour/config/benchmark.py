"""What an exported encoder is fine-tuned and scored on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from detour.config.fields import (
    Count,
    File,
    Filled,
    Fraction,
    Name,
    NotNegative,
    Pattern,
    Positive,
    ProperFraction,
    Seed,
    Separator,
    Written,
    added,
    repeated,
)
from detour.config.problems import Inconsistent


class TaskData(File):
    """A task's documents: files, or a data set of a hub that has been fetched to its cache."""

    reader: Name = added(
        "table", examples=["table", "brat", "brat-codes", "bio", "spans", "diamed", "fracco", "meddialog"]
    )
    """Layout of the files: `table` (a row a document), `brat`, `brat-codes`, `bio`, `spans`, `diamed`, `fracco`,
    `meddialog`, or one that an installed package adds; docs/tasks.md describes them."""
    hub: Filled | None = added(None)
    """Data set on the hub; `path` is then relative to it. It is read from the cache and never downloaded."""
    revision: Filled | None = added(None)
    """Branch, tag or commit of `hub`."""
    format: Literal["auto", "jsonl", "parquet", "csv"] = "auto"
    """`auto` goes by the file name."""
    separator: Separator = ","
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
    exclude: dict[str, Pattern] = Field(default={})
    """Column -> regular expression; rows that match (at the start) are left out."""
    annotation: Literal["brat"] | None = None
    """Older spelling of `reader: brat`."""
    entity_labels: tuple[Filled, ...] = added(())
    """Only entities with these labels; all where it is empty."""
    terminology: Filled | None = added(None)
    """Only codes of notes of this type, as `SNOMED` or `ICD-O-3.1`."""
    split_column: Filled | None = None
    """Column that says `train`, `validation` or `test`, where the data come with their own split."""
    split_files: bool = added(False)
    """The names of the files or their folders say the split: train, dev or validation, test."""

    @model_validator(mode="after")
    def _one_way_to_read_labels(self) -> TaskData:
        if self.label_separator and self.label_format != "auto":
            raise Inconsistent([(("label_separator",), f"`label_format` says {self.label_format}: give one of them")])
        return self

    @model_validator(mode="after")
    def _one_place(self) -> TaskData:
        if self.revision and not self.hub:
            raise Inconsistent([(("revision",), "of what? it belongs to a `hub` data set")])
        if self.hub and self.package:
            raise Inconsistent([(("hub",), "give either `hub` or `package`")])
        return self

    @property
    def layout(self) -> str:
        """Name of the reader, in either spelling."""
        return "brat" if self.annotation == "brat" and self.reader == "table" else self.reader


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
    """One label, several, or entities a document."""
    entities: Literal["nested", "flat"] = added("nested")
    """Of `ner`: entities inside others, found span by span, or none that overlap, found token by token."""
    data: TaskData | None = None
    """Where its documents are; a task without data can be planned and priced, not run."""
    split: Split | None = None
    """How they are divided, unless `data.split_column` or `data.split_files` says."""
    documents: TaskSize | None = None
    """How many there are, where that is published: a price for a task whose data are not here."""
    obtain: str = added("")
    """Where the data are had, for people; `detour doctor --tasks` prints it."""
    max_length: Count
    """Tokens; longer documents are cut."""
    epochs: Count | None = None
    """Passes over the training documents; or give `steps`."""
    steps: Count | None = None
    """Optimizer steps; or give `epochs`."""
    batch_sequences: Count = 4
    """Documents a step."""
    lr: Positive = 2e-5
    """Peak learning rate; falls linearly to 0 after the warm-up."""
    head_lr: Positive | None = None
    """Of the new head, None for the same `lr`."""
    weight_decay: NotNegative = 0.01
    """Of AdamW."""
    warmup: Fraction = 0.1
    """Share of all steps."""
    gradient_clip: Positive | None = None
    """Largest global gradient norm, None for no clipping."""
    validate_every: Count | None = None
    """Steps between validations, None for once an epoch; the best checkpoint by validation F1 is tested."""
    pooling: Literal["first", "mean"] = "first"
    """What the head reads: the first token, or the mean over all."""
    top_labels: Count | None = None
    """Only the most frequent labels, None for all."""
    positive_weights: bool = False
    """Multilabel: weight each label's positives by their rarity (`pos_weight` of the BCE)."""
    threshold: ProperFraction = 0.5
    """Multilabel: probability from which a label is given; the most probable one where none reaches it."""

    @model_validator(mode="after")
    def _one_length(self) -> Task:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        return self

    @model_validator(mode="after")
    def _keys_of_its_type(self) -> Task:
        if self.type != "ner" and self.entities == "flat":
            raise Inconsistent([(("entities",), f"the task's type is {self.type}, which has none: remove it")])
        if self.type == "ner" and self.top_labels is not None:
            raise Inconsistent(
                [(("top_labels",), "a task of type `ner` keeps all labels; choose with `entity_labels`")]
            )
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
