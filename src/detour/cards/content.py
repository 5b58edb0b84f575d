"""The facts of a model card as typed data, which the template puts into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from detour.accounting.energy import EnergyFigure
from detour.accounting.result_cost import Spent
from detour.cards.about_file import About
from detour.statistics.paired import Interval


@dataclass(frozen=True, slots=True)
class Architecture:
    """Architecture of the exported model, from its config.json."""

    classes: tuple[str, ...]
    parameters: int
    layers: int
    hidden: int
    heads: int
    context: int
    vocabulary: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Phase:
    number: int
    objective: str | None
    """`causal` or `masked`."""
    masking_rate: float | None
    tokens: int | None
    steps: int | None
    loss_before: float | None
    """Validation loss of the phase's initial weights, in nats per predicted token."""
    loss_after: float | None
    frozen: str | None = None
    """For example `layers 0-7 and embeddings`."""


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    tokens: int | None
    documents: int | None


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy and CO2 by one method at one site."""

    row: EnergyFigure
    arithmetic: str | None
    """The calculation, if it is a simple product: `16 GPU-h x 0.7 kW x PUE 1.2 x 34 g/kWh = 456.96 g`."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Usage of all attempts at all stages of the chain, including failed and repeated ones; shared stages in full."""

    attempts: int
    gpu_hours: float | None
    cpu_hours: float | None
    not_useful_gpu_hours: float | None
    """Start-up, redone, failed and idle time."""
    unknown_gpus: int
    """Attempts with an unknown number of GPUs, whose hours are not included."""
    unknown_cpus: int
    hardware: tuple[str, ...]
    countries: tuple[str, ...]
    energy: tuple[Energy, ...]
    quoted: Energy | None
    """The figure that the metadata state."""


@dataclass(frozen=True, slots=True)
class Score:
    """Mean score over the seeds of one task, in points."""

    task: str
    type: str
    """`text-classification` or `token-classification`."""
    type_name: str
    dataset: str
    dataset_type: str
    metric: str
    """Name of the metric on the hub."""
    metric_name: str
    mean: float
    interval: Interval | None
    seeds: int
    spent: Spent
    """Cost of the fine-tunings of all seeds."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Origin of the model, as shown by `detour models show`."""

    chain: str
    workspace: str
    export: str
    """Stage id of the export."""
    sha256: str | None
    """Digest over all files of the export."""
    corpus: str | None
    """Stage id of the prepared corpus."""
    code: tuple[str, ...]
    overridden: tuple[str, ...]
    """Gates of its promotions that users overrode, with the reasons."""
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    name: str
    """The model's title."""
    start: str | None
    """Hub id that training started from; None for random weights or a local folder."""
    architecture: Architecture | None
    phases: tuple[Phase, ...]
    sources: tuple[Source, ...] = ()
    compute: Compute | None = None
    scores: tuple[Score, ...] = ()
    seeds: int | None = None
    """Number of seeds of every task; None if they differ."""
    results_table: str | None = None
    """Table of results in Markdown, including the models it is compared with."""
    findings: tuple[str, ...] = ()
    """Findings of the comparison, in sentences."""
    lineage: Lineage | None = None
    about: About = field(default_factory=About)
    warnings: tuple[str, ...] = ()
    """What could not be included, and why. Not for the card, because it may contain local paths."""
