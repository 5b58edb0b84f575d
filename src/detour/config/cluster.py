"""The profile of a cluster: how jobs are requested, what limits them and what they cost.

Values carry their source. Users can change any value in a file of their own that `extends` a shipped profile.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from detour.config.fields import (
    Count,
    Duration,
    Name,
    NotNegative,
    Objective,
    Positive,
    PositiveWhole,
    Whole,
    Written,
    repeated,
)
from detour.config.problems import Inconsistent, KeyPath
from detour.config.sbatch import OptionValue, SbatchOption, VariableName

LEAST_SPEED = 1e-3
Use = Literal["cpu", "gpu"]
"""What a job runs on."""


def _month(text: str) -> str:
    if re.fullmatch(r"[12][0-9]{3}-(0[1-9]|1[0-2])", text) is None:
        raise ValueError(f"expected a month such as 2026-01, found {text!r}")
    return text


MonthName = Annotated[str, AfterValidator(_month)]


class Figure(Written):
    """A number with its source; `low` and `high` bound it if it is an estimate."""

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
    """A figure that durations are divided by; at least `LEAST_SPEED`, so they stay finite."""

    @model_validator(mode="after")
    def _not_zero(self) -> Speed:
        for name in ("value", "low"):
            figure = getattr(self, name)
            if figure is not None and figure < LEAST_SPEED:
                raise Inconsistent([((name,), f"is a speed: expected at least {LEAST_SPEED:g}, found {figure:g}")])
        return self


class Pue(Figure):
    """Facility energy divided by IT energy."""

    @model_validator(mode="after")
    def _at_least_one(self) -> Pue:
        if self.value < 1:
            found = f"is facility energy over IT energy: expected at least 1, found {self.value:g}"
            raise Inconsistent([(("value",), found)])
        return self


class GridFactor(Figure):
    """gCO2eq per kWh of electricity."""

    kind: Literal["direct", "lifecycle"] | None = None
    """`direct`: emissions of the power plants; `lifecycle`: with their fuel and construction; None: not stated."""
    zone: str | None = None
    """The grid, for example `FR`."""


class Gpu(Written):
    """What Slurm allocates as one GPU. On MI250 that is one of the two dies (GCD) of a card."""

    type: OptionValue
    per_node: PositiveWhole
    memory_gb: Positive | None = None
    board_power_w: Figure
    """Power limit of what Slurm counts as one GPU: half a card's for a GCD; the whole board's for a slice
    (`type: 1g.10gb`), which is charged its share.
    """
    peak_tflops_bf16: Speed | None = None
    """Dense bf16 peak of one GPU, without sparsity; the denominator of MFU."""
    selector: Literal["gres", "gpus", "gpus-per-node", "none"] = "gres"
    """`--gres=gpu:N`, `--gpus=N`, `--gpus-per-node=N`, or none if whole nodes are allocated."""
    type_in_request: bool = False
    """`--gres=gpu:h100:4` instead of `--gres=gpu:4`."""
    simulated: bool = False
    """The nodes are this machine and their GPUs exist in name only, as in the tests' Slurm: jobs run on CPUs."""
    gcd_per_gpu: PositiveWhole = 1
    """Dies per billed GPU: 2 if 1 GPU-hour is 2 GCD-hours."""


class Qos(Written):
    """One quality of service; None means that no limit is known."""

    name: OptionValue = Field(min_length=1)
    wall: Duration | None = None
    """Maximum time limit."""
    gpus: Count | None = None
    """Maximum number of GPUs in use at once, per user."""
    submitted_jobs: Count | None = None
    """Maximum number of pending and running jobs, per user; the site refuses more, sometimes with an empty answer."""
    default: bool = False
    use: tuple[Use, ...] = ("cpu", "gpu")
    source: str | None = None


class Partition(Written):
    """The partition for jobs of one shape."""

    name: OptionValue | None = None
    """None: the site chooses one from the other options."""
    cores_per_node: PositiveWhole | None = None
    account: OptionValue | None = None
    """The account if it differs from the cluster's, for example `abc@cpu`."""
    constraint: OptionValue | None = None
    default_wall: Duration | None = None
    """Time limit that Slurm sets if no `--time` is given."""
    wall: Duration | None = None
    """Maximum time limit."""
    source: str | None = None


class Billing(Written):
    """How the site charges for a job."""

    rule: Literal["gpu", "cores-share", "whole-node", "none"]
    """`gpu`: GPUs x elapsed time; `cores-share`: raised to the share of the node's cores; `whole-node`: all GPUs."""
    multi_node_bills_whole_nodes: bool = False
    blocked_at: Figure | None = None
    """Share of the allocation at which the site stops jobs."""
    source: str


class CpuPower(Written):
    """IT power in addition to the GPUs, for estimates when nothing measures it."""

    watt_per_core: Figure
    watt_per_gb_memory: Figure
    memory_gb_per_node: Positive | None = None


class Throughput(Written):
    """Tokens per second and GPU, observed under these conditions."""

    model: str
    """`pretrained` of the recipe, or a size such as `base`."""
    parameters: Count | None = None
    objective: Objective | None = None
    """None: the mean over a whole chain."""
    sequence_length: Count
    tokens_per_s_per_gpu: Speed


class SeedsPerJob(Written):
    """Number of evaluations that fit in one GPU's memory together."""

    max_length: Count
    batch_sequences: Count
    seeds: Count
    memory_gb: Positive
    source: str


class MonthOfSite(Written):
    """The figures that differ from the site's constants in one month."""

    pue: Pue | None = None
    grid_gco2_per_kwh: GridFactor | None = None


class GridHours(Written):
    """Hourly grid factors, in a CSV file with the columns `hour` and `g_per_kwh`; they override those of the month."""

    path: str = Field(min_length=1)
    """Path of the CSV file, relative to this file."""
    source: str
    kind: Literal["direct", "lifecycle"] | None = None
    zone: str | None = None


class Site(Written):
    """The site's overhead over IT energy and the carbon intensity of its electricity."""

    country: str | None = None
    pue: Pue | None = None
    """None: unknown, and so is every figure that depends on it."""
    grid_gco2_per_kwh: GridFactor | None = None
    months: dict[MonthName, MonthOfSite] = Field(default={})
    """Months with a known PUE or grid factor, by `2026-01` (UTC)."""
    grid_hourly: GridHours | None = None
    embodied_gco2_per_gpu_hour: Figure | None = None
    """Manufacturing and transport of the hardware, per GPU-hour of its lifetime; shown as a line of its own."""
    idle_kwh_per_kwh: Figure | None = None
    """Energy of idle nodes and shared equipment, per kWh of jobs; shown as a line of its own."""


def _lines(value: object) -> object:
    """Split a block of text into its lines."""
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


Lines = Annotated[tuple[str, ...], BeforeValidator(_lines)]


class Cluster(Written):
    """One cluster profile: `detour plan RECIPE --cluster NAME`."""

    name: Name
    description: str = ""
    sources: tuple[str, ...] = ()
    """Sources of the values in this file that do not state their own."""
    scheduler: Literal["local", "slurm"]
    gpu: Gpu | None = None
    """None: no GPU is ever requested."""
    nodes: Count | None = None
    """Number of GPU nodes, if known."""
    cores_per_node: PositiveWhole | None = None
    cores_per_gpu: PositiveWhole | None = None
    """Cores requested with each GPU (`--cpus-per-task`)."""
    training_gpus: PositiveWhole | None = None
    """GPUs that a training requests; None: all of one node."""
    cpu_only_cores: PositiveWhole = 4
    """Cores requested by stages without a GPU (prepare, export, summarize)."""
    slurm_cluster: OptionValue | None = None
    """The site's Slurm cluster to use, as for `--clusters`; None: the one that the login nodes belong to."""
    account: OptionValue | None = None
    account_suffix: OptionValue = ""
    """Suffix of `account` for GPU jobs, for example `@h100`, if the site has one account per machine part."""
    gpu_partition: Partition = Partition()
    cpu_partition: Partition = Partition()
    network_partition: Partition | None = None
    """Partition whose jobs reach the internet, for downloads."""
    qos: tuple[Qos, ...] = ()
    qos_required: bool = True
    """False: without `--qos` the site uses its own default."""
    header: tuple[SbatchOption, ...] = ()
    """Additional sbatch options, one per item, for example `--hint=nomultithread`."""
    gpu_header: tuple[SbatchOption, ...] = ()
    """Additional sbatch options for GPU jobs only."""
    preamble: Lines = ()
    """Shell lines before the command: modules, environment."""
    login_shell: bool = False
    """Start jobs with `bash -l`, if modules are not set up otherwise."""
    environment: dict[VariableName, str] = Field(default={})
    export_srun_cpus_per_task: bool = False
    """Set SRUN_CPUS_PER_TASK from the request: since Slurm 22.05 srun does not inherit it from sbatch."""
    offline: bool = False
    """Compute nodes have no network: hub caches must be filled beforehand, and offline variables are set."""
    billing: Billing
    scratch_days: Count | None = None
    """Days after which unread scratch files are removed."""
    budget_command: str | None = None
    poll_seconds: Duration = 60
    """Poll interval: minimum time between two queries to the scheduler."""
    compute_nodes_submit: bool = False
    """Jobs may submit jobs: if a submit limit cut a chain, a small job sends the next wave. Many sites forbid this."""
    requeue: bool = True
    """The site may requeue jobs after a node failure or preemption."""
    max_array_size: PositiveWhole | None = None
    """Slurm's MaxArraySize: one more than the highest index."""
    grace: Duration = 120
    """Time before the time limit at which a job is signalled to save and stop."""
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

    def default_qos(self, use: Use) -> Qos | None:
        """The QOS marked as default for this use, otherwise the first that serves it; None if the site chooses."""
        serving = [qos for qos in self.qos if use in qos.use]
        first = serving[0] if serving and self.qos_required else None
        return next((qos for qos in serving if qos.default), first)

    def partition(self, use: Use) -> Partition:
        return self.gpu_partition if use == "gpu" else self.cpu_partition

    def full_account(self, use: Use) -> str | None:
        """The value for `--account`; None if none is set."""
        if (account := self.partition(use).account) is not None:
            return account
        return f"{self.account}{self.account_suffix if use == 'gpu' else ''}" if self.account else None
