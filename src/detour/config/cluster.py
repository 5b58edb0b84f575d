"""A cluster as a plan needs it: how jobs are asked for, what limits them, what they cost.

Values carry their source. A profile is a person's file: every value can be changed in a file of one's own that
`extends` a shipped one.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from detour.config.fields import NotNegative, Positive, PositiveWhole, Whole
from detour.config.models import Count, Duration, Name, Objective, Written, repeated
from detour.config.problems import Inconsistent, KeyPath
from detour.config.sbatch import SbatchOption, VariableName

LEAST_SPEED = 1e-3


def _month(text: str) -> str:
    if re.fullmatch(r"[12][0-9]{3}-(0[1-9]|1[0-2])", text) is None:
        raise ValueError(f"expected a month as 2026-01, found {text!r}")
    return text


MonthName = Annotated[str, AfterValidator(_month)]


class Figure(Written):
    """A number with where it was found; `low` and `high` bound it where it is an estimate."""

    value: NotNegative
    source: str
    year: Annotated[Whole, Field(ge=1990, le=2100)] | None = None
    low: NotNegative | None = None
    high: NotNegative | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Figure:
        if self.low is not None and self.low > self.value:
            raise Inconsistent([(("low",), f"is above the value {self.value:g}")])
        if self.high is not None and self.high < self.value:
            raise Inconsistent([(("high",), f"is below the value {self.value:g}")])
        return self


class Speed(Figure):
    """A figure by which durations are divided, so it cannot be zero, nor so small that they become infinite."""

    @model_validator(mode="after")
    def _not_zero(self) -> Speed:
        for name in ("value", "low"):
            figure = getattr(self, name)
            if figure is not None and figure < LEAST_SPEED:
                raise Inconsistent([((name,), f"is a speed: expected at least {LEAST_SPEED:g}, found {figure:g}")])
        return self


class Pue(Figure):
    """Facility energy over IT energy."""

    @model_validator(mode="after")
    def _at_least_one(self) -> Pue:
        if self.value < 1:
            found = f"is facility energy over IT energy: expected at least 1, found {self.value:g}"
            raise Inconsistent([(("value",), found)])
        return self


class GridFactor(Figure):
    """gCO2eq a kWh of electricity."""

    kind: Literal["direct", "lifecycle"] | None = None
    """What power plants emit, or with their fuel and construction; None: the source does not say."""
    zone: str | None = None
    """The grid, as `FR`."""


class Gpu(Written):
    """What Slurm hands out as one GPU. On MI250 that is one of the two dies (GCD) of a card."""

    type: str
    per_node: PositiveWhole
    memory_gb: Positive | None = None
    board_power_w: Figure
    """Power limit of what Slurm counts as one GPU; for a GCD half a card's, for a slice (`type: 1g.10gb`) the whole
    board's, of which it is booked its share.
    """
    peak_tflops_bf16: Speed | None = None
    """Dense bf16 peak of one GPU, without sparsity; the denominator of MFU."""
    selector: Literal["gres", "gpus", "gpus-per-node", "none"] = "gres"
    """`--gres=gpu:N`, `--gpus=N`, `--gpus-per-node=N`, or none where whole nodes are handed out."""
    type_in_request: bool = False
    """`--gres=gpu:h100:4` instead of `--gres=gpu:4`."""
    simulated: bool = False
    """The nodes are this very machine and their GPUs names only, as in the tests' Slurm: jobs run on CPUs."""
    gcd_per_gpu: PositiveWhole = 1
    """Dies a billed GPU: 2 where 1 GPU-hour is 2 GCD-hours."""


class Qos(Written):
    """One quality of service; None is "no limit known"."""

    name: str = Field(min_length=1)
    wall: Duration | None = None
    """Longest run."""
    gpus: Count | None = None
    """Most GPUs at once, a user."""
    submitted_jobs: Count | None = None
    """Most jobs queued and running together, a user; past it the site refuses, some with an empty answer."""
    default: bool = False
    use: tuple[Literal["cpu", "gpu"], ...] = ("cpu", "gpu")
    source: str | None = None


class Partition(Written):
    """Where jobs of one shape go."""

    name: str | None = None
    """None: the site chooses from the other options."""
    cores_per_node: PositiveWhole | None = None
    account: str | None = None
    """Where it differs from the cluster's, as `abc@cpu`."""
    constraint: str | None = None
    default_wall: Duration | None = None
    """What Slurm takes where no `--time` is given."""
    wall: Duration | None = None
    """Longest run."""
    source: str | None = None


class Billing(Written):
    """How the site turns a job into hours charged."""

    rule: Literal["gpu", "cores-share", "whole-node", "none"]
    """`gpu`: GPUs x elapsed; `cores-share`: raised to the share of the node's cores; `whole-node`: all GPUs."""
    multi_node_bills_whole_nodes: bool = False
    blocked_at: Figure | None = None
    """Share of the allocation at which jobs stop."""
    source: str


class CpuPower(Written):
    """IT power beside the GPUs, for estimates where nothing measures it."""

    watt_per_core: Figure
    watt_per_gb_memory: Figure
    memory_gb_per_node: Positive | None = None


class Throughput(Written):
    """Tokens a second and GPU, seen under these conditions."""

    model: str
    """`pretrained` of the recipe, or a size such as `base`; matched by the planner."""
    parameters: Count | None = None
    objective: Objective | None = None
    """None: the mean over a whole chain."""
    sequence_length: Count
    tokens_per_s_per_gpu: Speed


class SeedsPerJob(Written):
    """Evaluations that fit side by side in one GPU's memory."""

    max_length: Count
    batch_sequences: Count
    seeds: Count
    memory_gb: Positive
    source: str


class MonthOfSite(Written):
    """What differs in one month from the site's constants."""

    pue: Pue | None = None
    grid_gco2_per_kwh: GridFactor | None = None


class GridHours(Written):
    """Grid factors by the hour: CSV with the columns `hour` and `g_per_kwh`; goes before those of the month."""

    path: str = Field(min_length=1)
    """Relative to this file."""
    source: str
    kind: Literal["direct", "lifecycle"] | None = None
    zone: str | None = None


class Site(Written):
    """What the place adds to IT energy, and the carbon of its electricity."""

    country: str | None = None
    pue: Pue | None = None
    """None: unknown, and so is everything that would be multiplied by it."""
    grid_gco2_per_kwh: GridFactor | None = None
    months: dict[MonthName, MonthOfSite] = Field(default={})
    """Where a month's PUE or grid factor is known, by `2026-01` (UTC)."""
    grid_hourly: GridHours | None = None
    embodied_gco2_per_gpu_hour: Figure | None = None
    """Making and carrying the hardware, by GPU-hour of its life; shown as a line of its own."""
    idle_kwh_per_kwh: Figure | None = None
    """Energy of idle nodes and shared parts, by kWh of jobs; shown as a line of its own."""


def _lines(value: object) -> object:
    """A block of text counts as its lines."""
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


Lines = Annotated[tuple[str, ...], BeforeValidator(_lines)]


class Cluster(Written):
    """One profile: `detour plan RECIPE --cluster NAME`."""

    name: Name
    description: str = ""
    sources: tuple[str, ...] = ()
    """Where the values of this file come from, where they do not say it themselves."""
    scheduler: Literal["local", "slurm"]
    gpu: Gpu | None = None
    """None: no GPU is ever asked for."""
    nodes: Count | None = None
    """GPU nodes, as far as known."""
    cores_per_node: PositiveWhole | None = None
    cores_per_gpu: PositiveWhole | None = None
    """Asked for with each GPU (`--cpus-per-task`)."""
    training_gpus: PositiveWhole | None = None
    """GPUs a training asks for; None: all of one node."""
    cpu_only_cores: PositiveWhole = 4
    """Asked for by stages without a GPU (prepare, export, summarize)."""
    slurm_cluster: str | None = None
    """Which of the Slurm clusters of a site is meant, as `--clusters`; None: the one that login nodes belong to."""
    account: str | None = None
    account_suffix: str = ""
    """Appended to `account` for GPU jobs where the site keeps one per machine part, as `@h100`."""
    gpu_partition: Partition = Partition()
    cpu_partition: Partition = Partition()
    network_partition: Partition | None = None
    """Where a job reaches the internet, for downloads."""
    qos: tuple[Qos, ...] = ()
    qos_required: bool = True
    """False: without `--qos` the site takes its own default."""
    header: tuple[SbatchOption, ...] = ()
    """More sbatch options, one each, as `--hint=nomultithread`."""
    gpu_header: tuple[SbatchOption, ...] = ()
    """The same, for GPU jobs only."""
    preamble: Lines = ()
    """Shell lines ahead of the command: modules, environment."""
    login_shell: bool = False
    """Jobs start as `bash -l`: needed where modules are not set up otherwise."""
    environment: dict[VariableName, str] = Field(default={})
    export_srun_cpus_per_task: bool = False
    """Set SRUN_CPUS_PER_TASK from the request: since Slurm 22.05 srun does not take it from sbatch."""
    offline: bool = False
    """Compute nodes reach no network: hub caches must be filled before, offline variables are set."""
    billing: Billing
    scratch_days: Count | None = None
    """Days after which unread scratch files are removed."""
    budget_command: str | None = None
    poll_seconds: Duration = 60
    """Least time between two questions to the scheduler."""
    compute_nodes_submit: bool = False
    """Jobs may submit jobs: a small one sends the next wave where a submit limit cut a chain. Many sites forbid it."""
    requeue: bool = True
    """Jobs may be put back by the site after a node failure or preemption."""
    max_array_size: PositiveWhole | None = None
    """Slurm's MaxArraySize: one more than the highest index."""
    grace: Duration = 120
    """How long before its time limit a job is signalled to save and stop."""
    seeds_per_job: tuple[SeedsPerJob, ...] = ()
    site: Site
    cpu_power: CpuPower
    throughput: tuple[Throughput, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Cluster:
        found: list[tuple[KeyPath, str]] = []
        names = [qos.name for qos in self.qos]
        found += repeated("qos", names)
        if sum(qos.default and "gpu" in qos.use for qos in self.qos) > 1:
            found.append((("qos",), "more than one QOS for GPU jobs is the default"))
        if self.gpu and self.cores_per_gpu and self.cores_per_node:
            asked = self.cores_per_gpu * self.gpu.per_node
            if asked > self.cores_per_node:
                message = f"{asked} cores for a node's {self.gpu.per_node} GPUs are more than its {self.cores_per_node}"
                found.append((("cores_per_gpu",), message))
        if found:
            raise Inconsistent(found)
        return self

    def default_qos(self, use: Literal["cpu", "gpu"]) -> Qos | None:
        """The QOS marked default for this use, else the first that serves it; None where the site chooses."""
        serving = [qos for qos in self.qos if use in qos.use]
        first = serving[0] if serving and self.qos_required else None
        return next((qos for qos in serving if qos.default), first)

    def full_account(self, use: Literal["cpu", "gpu"]) -> str | None:
        """What `--account` gets; None where none is set."""
        partition = self.gpu_partition if use == "gpu" else self.cpu_partition
        if partition.account is not None:
            return partition.account
        return f"{self.account}{self.account_suffix if use == 'gpu' else ''}" if self.account else None
