"""The benchmark section of a recipe: the tasks on which an exported encoder is fine-tuned and scored."""

from __future__ import annotations

from collections.abc import Iterator
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
    Problems,
    ProperFraction,
    Seed,
    Separator,
    Written,
    added,
    repeated,
    rule,
)
from detour.config.problems import Inconsistent

THRESHOLD = 0.5
CLASS_METRICS = ("accuracy", "macro_f1", "micro_f1")
ENTITY_METRICS = ("exact_macro_f1", "exact_micro_f1", "macro_f1", "micro_f1", "micro_precision", "micro_recall")


class TaskData(File):
    """A task's documents: files, or a data set from a hub that is already in the local cache."""

    reader: Name = added(
        "table", examples=["table", "brat", "brat-codes", "bio", "tokens", "spans", "diamed", "fracco", "meddialog"]
    )
    """Layout of the files: `table` (one row per document), `brat`, `brat-codes`, `bio`, `tokens`, `spans`, `diamed`,
    `fracco`, `meddialog`, or one that an installed package adds; see docs/tasks.md."""
    hub: Filled | None = added(None)
    """Data set on the hub, to which `path` is then relative. It is read from the cache and never downloaded."""
    revision: Filled | None = added(None)
    """Branch, tag or commit of `hub`."""
    format: Literal["auto", "jsonl", "parquet", "csv"] = "auto"
    """`auto` decides by the file name."""
    separator: Separator = ","
    """Field separator of a CSV file."""
    quoting: Literal["auto", "double", "none"] = added("auto")
    """CSV only. `double`: double quotes may enclose a field and are doubled inside it; `none`: quotes are ordinary
    characters; `auto`: `none` for files named `.tsv`, otherwise `double`."""
    text: Filled = "text"
    """Column that holds the document."""
    label: Filled = "label"
    """Column that holds the label or the list of labels."""
    label_format: Literal["auto", "name", "list", "vector"] = added("auto")
    """`name`: the text itself; `list`: a list, possibly written as text; `vector`: a 0 or 1 per label, each label named
    by its position; `auto`: a name or a list of names, and anything that looks like another format is refused."""
    label_separator: str | None = added(None, min_length=1)
    """Separator of several labels in one text, for example `;`."""
    label_map: Literal["icd10_chapter"] | None = None
    """Name of the function that maps the column to the label."""
    exclude: dict[str, Pattern] = Field(default={})
    """Column -> regular expression; rows whose value matches at its start are left out."""
    annotation: Literal["brat"] | None = None
    """Old spelling of `reader: brat`."""
    entity_labels: tuple[Filled, ...] = added(())
    """Labels of the entities to keep; empty for all."""
    terminology: Filled | None = added(None)
    """Type of the notes whose codes are read, for example `SNOMED` or `ICD-O-3.1`."""
    split_column: Filled | None = None
    """Column that holds `train`, `validation` or `test`, if the data come with their own split."""
    split_files: bool = added(False)
    """Take the split from the names of the files or their folders: train, dev or validation, test."""

    @model_validator(mode="after")
    def _one_way_to_read_labels(self) -> TaskData:
        if self.label_separator and self.label_format != "auto":
            raise Inconsistent([(("label_separator",), f"`label_format` says {self.label_format}: give one of them")])
        return self

    @model_validator(mode="after")
    def _one_place(self) -> TaskData:
        if self.revision and not self.hub:
            raise Inconsistent([(("revision",), "needs a `hub` data set")])
        if self.hub and self.package:
            raise Inconsistent([(("hub",), "give either `hub` or `package`")])
        return self

    @property
    def layout(self) -> str:
        """The name of the reader, whichever spelling the recipe uses."""
        return "brat" if self.annotation == "brat" and self.reader == "table" else self.reader


class Split(Written):
    """A seeded draw of documents without replacement, the same for every model."""

    train: Count
    """Documents or percent to train on."""
    validation: Count
    """Documents or percent on which the best epoch is chosen."""
    test: Count
    """Documents or percent to score."""
    unit: Literal["documents", "percent"] = "documents"
    """Unit of the three numbers."""
    seed: Seed = 42
    """Seed of the draw."""

    @model_validator(mode="after")
    def _percents_sum_up(self) -> Split:
        total = self.train + self.validation + self.test
        if self.unit == "percent" and total != 100:
            raise ValueError(f"train, validation and test are {total} percent together, not 100")
        return self


class TaskSize(Written):
    """The published number of documents of a task. Used for prices, never part of a key."""

    count: Count
    """Documents in all splits together."""
    source: str
    """Where the number was published."""


class Task(Written):
    """One fine-tuning task; each (task, seed) is a separate stage."""

    name: Name
    """Name of the task in overrides and in the report."""
    type: Literal["single_label", "multilabel", "ner"]
    """What each document has: one label, several labels, or entities."""
    entities: Literal["nested", "flat"] = added("nested")
    """`ner` only. `nested`: entities may lie inside others, and are found span by span; `flat`: none overlap, and they
    are found token by token."""
    data: TaskData | None = None
    """Where the documents are; a task without data can be planned and priced, but not run."""
    split: Split | None = None
    """How the documents are divided, unless `data.split_column` or `data.split_files` is set."""
    documents: TaskSize | None = None
    """The published number of documents, to price a task whose data are not available."""
    obtain: str = added("")
    """How to obtain the data, for people; `detour doctor --tasks` prints it."""
    max_length: Count
    """Maximum length in tokens; longer documents are cut."""
    epochs: Count | None = None
    """Passes over the training documents; the alternative is `steps`."""
    steps: Count | None = None
    """Optimizer steps; the alternative is `epochs`."""
    batch_sequences: Count = 4
    """Documents per step."""
    lr: Positive = 2e-5
    """Peak learning rate; it falls linearly to 0 after the warm-up."""
    head_lr: Positive | None = None
    """Peak learning rate of the new head, None for `lr`."""
    weight_decay: NotNegative = 0.01
    """Weight decay of AdamW."""
    warmup: Fraction = 0.1
    """Warm-up as a share of all steps."""
    gradient_clip: Positive | None = None
    """Maximum global gradient norm, None for no clipping."""
    validate_every: Count | None = None
    """Steps between validations, None for once per epoch; the checkpoint with the best validation F1 is tested."""
    pooling: Literal["first", "mean"] = "first"
    """What the head reads: the first token, or the mean over all tokens."""
    top_labels: Count | None = None
    """Keep only this many of the most frequent labels, None for all."""
    positive_weights: bool = False
    """Multilabel only: weight each label's positives by their rarity (`pos_weight` of the BCE)."""
    threshold: ProperFraction = THRESHOLD
    """Multilabel: minimum probability at which a label is assigned; if none reaches it, the most probable one is.
    Nested entities: minimum probability of an entity."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the scores of its results, of which a gate's probe may choose one."""
        if self.type != "ner":
            return CLASS_METRICS
        return (*ENTITY_METRICS, "strict_f1") if self.entities == "flat" else ENTITY_METRICS

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
    """Name of the benchmark in the report."""
    tasks: tuple[Task, ...] = Field(min_length=1)
    """The tasks on which the exported encoder is fine-tuned."""
    seeds: tuple[Seed, ...] = Field(min_length=1)
    """Seeds; each task is fine-tuned once with each."""

    @rule
    def _names_and_seeds_are_unique(self) -> Problems:
        return repeated("tasks", [task.name for task in self.tasks]) + repeated("seeds", self.seeds)

    @rule
    def _keys_have_an_effect(self) -> Problems:
        return [
            (("tasks", index, key), f"the task {why}: remove it")
            for index, task in enumerate(self.tasks)
            for key, why in _without_effect(task)
        ]


def _without_effect(task: Task) -> Iterator[tuple[str, str]]:
    """Yield keys that the task's type ignores. Checked here and not in `Task`, so that older plans can be read."""
    if task.positive_weights and task.type != "multilabel":
        yield "positive_weights", f"is of type {task.type}, which has no weights of labels"
    if task.threshold != THRESHOLD and (task.type == "single_label" or task.entities == "flat"):
        yield "threshold", "takes the most probable label"
