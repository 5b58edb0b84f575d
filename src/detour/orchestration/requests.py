"""From priced stages to jobs: which stages share one sbatch, what they request, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from detour.config.cluster import Cluster, Gpu, Partition, Qos
from detour.config.quantities import MAX_DURATION_S
from detour.errors import UserError
from detour.orchestration.arrays import Work, lanes
from detour.planning.order import nearest_inputs
from detour.planning.stage import EvaluateStage, Stage
from detour.pricing.limits import stage_limit_s
from detour.pricing.price import Price
from detour.scheduler.requests import JobRequest, Resources, split_arrays
from detour.scheduler.submission_script import gpu_option
from detour.text import format_duration

SPARE_SEGMENTS = 1
"""Segments beyond those the estimate needs; Slurm cancels the ones not used."""
MOST_SEGMENTS = 100
MOST_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a submission requests beyond its recipe; None leaves it to the estimate and the profile."""

    gpus: int | None = None
    """GPUs of a training."""
    qos: str | None = None
    account: str | None = None
    wall_s: int | None = None
    """Time limit of one segment of a training."""
    segments: int | None = None
    parallelism: int | None = None
    """Evaluations that may run at once, of all arrays together; at least one of each can."""

    def __post_init__(self) -> None:
        """Raises UserError for numbers that no queue accepts."""
        limits = (
            ("seconds per segment", self.wall_s, MAX_DURATION_S),
            ("segments", self.segments, MOST_SEGMENTS),
            ("evaluations at once", self.parallelism, MOST_AT_ONCE),
        )
        for what, asked, most in limits:
            require_whole(asked, what)
            if asked is not None and not 1 <= asked <= most:
                raise UserError(f"{asked} {what}: expected 1 to {most:,}")


def require_whole(asked: int | None, what: str) -> None:
    """Raises UserError for a number that is not an int, such as `1.5 * 3600` from Python."""
    if asked is not None and type(asked) is not int:
        raise UserError(f"{asked!r} {what}: expected a whole number, found {type(asked).__name__}")


def job_requests(
    stages: Sequence[Stage],
    prices: Mapping[str, Price],
    cluster: Cluster,
    options: JobOptions,
    done: Collection[str],
) -> list[JobRequest]:
    """The jobs for the stages that are not done, each after those it waits for; the submission skips what is in flight.

    Evaluations of one model are one array; with many chains, all work of one shape is one array, laid out by `lanes`.
    """
    missing = {stage.id: stage for stage in stages if stage.id not in done}
    nearest = nearest_inputs(list(missing.values()))
    work = []
    for task in _tasks(missing.values(), cluster):
        waits = dict.fromkeys(input_id for stage in task for input_id in nearest[stage.id] if input_id in missing)
        work.append(Work(tuple(stage.id for stage in task), tuple(waits), _shape(task, prices)))
    requests = []
    for lane in lanes(work):
        tasks = [[missing[stage_id] for stage_id in one.stages] for one in lane]
        requests.append(_request(tasks, [one.waits for one in lane], prices, cluster, options))
    return _shared_limit(split_arrays(requests, _longest_array(requests, cluster, options)))


def _shared_limit(requests: Sequence[JobRequest]) -> list[JobRequest]:
    """The requests, with shares of one limit on evaluations at once, of at least one: Slurm limits each array alone."""
    limited, place = sum(request.parallelism is not None for request in requests), count()
    return [
        one if one.parallelism is None else replace(one, parallelism=max(1, (one.parallelism + next(place)) // limited))
        for one in requests
    ]


def _tasks(stages: Iterable[Stage], cluster: Cluster) -> list[list[Stage]]:
    """The stages of each job or array task: one stage, or as many seeds of one task and model as the profile allows.

    Each task takes the position of its first stage.
    """
    tasks: list[list[Stage]] = []
    open_tasks: dict[tuple[str, str], list[Stage]] = {}
    for stage in stages:
        if not isinstance(stage, EvaluateStage):
            tasks.append([stage])
            continue
        alike = (stage.inputs["model"], stage.task)
        if alike not in open_tasks or len(open_tasks[alike]) >= _seeds_per_job(stage, cluster):
            open_tasks[alike] = []
            tasks.append(open_tasks[alike])
        open_tasks[alike].append(stage)
    return tasks


def _shape(task: Sequence[Stage], prices: Mapping[str, Price]) -> tuple[object, ...]:
    """Equal for tasks that may share an array: same kind and resources, and run times within a factor of two."""
    first = task[0]
    if first.kind == "evaluate":
        return (first.kind, prices[first.id].gpus)
    return (first.kind, prices[first.id].gpus, prices[first.id].cores, _needed_s(task, prices).bit_length())


def _needed_s(task: Sequence[Stage], prices: Mapping[str, Price]) -> int:
    return sum(stage_limit_s(stage, prices[stage.id]) for stage in task)


def _longest_array(requests: Sequence[JobRequest], cluster: Cluster, options: JobOptions) -> int | None:
    """The longest array that the site's limits on arrays and submitted jobs allow; None if there is no limit.

    One length for all, so that lanes still correspond.
    """
    qos = [_qos(cluster, 1, options.qos), _qos(cluster, 0, None)]
    submitted = [one.submitted_jobs for one in qos if one is not None and one.submitted_jobs is not None]
    segments = max((request.segments for request in requests), default=1)
    kept_free = 2 * cluster.compute_nodes_submit  # the job that sends a wave, and the one that will send the next
    limits = [max(1, (limit - kept_free) // segments) for limit in submitted]
    return min([*limits, *([cluster.max_array_size] if cluster.max_array_size else [])], default=None)


def _seeds_per_job(stage: EvaluateStage, cluster: Cluster) -> int:
    task = stage.settings.task
    fitting = [
        row.seeds
        for row in cluster.seeds_per_job
        if row.max_length >= task.max_length and row.batch_sequences >= task.batch_sequences
    ]
    return max(fitting, default=1)


def _request(
    tasks: Sequence[Sequence[Stage]],
    waits: Sequence[tuple[str, ...]],
    prices: Mapping[str, Price],
    cluster: Cluster,
    options: JobOptions,
) -> JobRequest:
    first = tasks[0][0]
    gpus = prices[first.id].gpus
    partition = cluster.gpu_partition if gpus else cluster.cpu_partition
    qos = _qos(cluster, gpus, options.qos)
    limit_s = min((limit for limit in (qos.wall if qos else None, partition.wall) if limit), default=None)
    needed_s = max(_needed_s(task, prices) for task in tasks)
    wall_s, segments = needed_s, 1
    if first.kind == "pretrain":
        wall_s = min(filter(None, (options.wall_s or needed_s, limit_s)))
        segments = options.segments or _segments(needed_s, wall_s, first)
    elif limit_s is not None and needed_s > limit_s:
        wall_s = limit_s
    _require_longer_than_grace(wall_s, tasks[0][0], cluster)
    return JobRequest(
        tasks=tuple(tuple(stage.id for stage in task) for task in tasks),
        resources=_resources(first, gpus, cluster, partition, qos, options),
        wall_s=wall_s,
        label=_label(tasks),
        segments=segments,
        after=tuple(dict.fromkeys(stage for each in waits for stage in each)),
        after_each=tuple(waits) if len(set(waits)) > 1 else (),
        parallelism=options.parallelism if first.kind == "evaluate" else None,
    )


def _segments(needed_s: int, wall_s: int, stage: Stage) -> int:
    """Raises UserError for more than a chain can have: each waits for all before it."""
    segments = -(-needed_s // wall_s) + SPARE_SEGMENTS
    if segments > MOST_SEGMENTS:
        raise UserError(
            f"{stage.label}: an estimate of up to {format_duration(needed_s)} takes {segments:,} segments of "
            f"{format_duration(wall_s)}, and a training can have {MOST_SEGMENTS}: give it more GPUs (--gpus) or a "
            "longer limit (--time, --qos), or send some of them (--segments) and submit again when they have ended"
        )
    return segments


def _require_longer_than_grace(wall_s: int, stage: Stage, cluster: Cluster) -> None:
    """Raises UserError for a job that must save before it has begun: each segment would make one step at most."""
    if wall_s <= cluster.grace:
        limit, grace = format_duration(wall_s), format_duration(cluster.grace)
        raise UserError(
            f"{stage.label}: a time limit of {limit} less the {grace} for saving (`grace` of {cluster.name}) leaves no "
            f"time to work: give a longer one with --time, or a shorter grace in the profile"
        )


def _label(tasks: Sequence[Sequence[Stage]]) -> str:
    """The stage's own label; for several stages, their common name or else their kind."""
    stages = [stage for task in tasks for stage in task]
    if len(stages) == 1:
        return stages[0].label
    names = dict.fromkeys(stage.name for stage in stages)
    return next(iter(names)) if len(names) == 1 else stages[0].kind


def _qos(cluster: Cluster, gpus: int, wished: str | None) -> Qos | None:
    if wished is None or not gpus:
        return cluster.default_qos("gpu" if gpus else "cpu")
    offered = {qos.name: qos for qos in cluster.qos if "gpu" in qos.use}
    if wished not in offered:
        names = ", ".join(offered) or "none in its profile"
        raise UserError(f"--qos {wished}: {cluster.name} has no such QOS for GPU jobs; it has {names}")
    return offered[wished]


def _gpu_option(gpu: Gpu | None, gpus_per_node: int, nodes: int) -> str | None:
    if gpu is None:
        return None
    return gpu_option(gpu.selector, gpus_per_node, nodes, gpu.type if gpu.type_in_request else None)


def _resources(
    stage: Stage,
    gpus: int,
    cluster: Cluster,
    partition: Partition,
    qos: Qos | None,
    options: JobOptions,
) -> Resources:
    per_node = cluster.gpu.per_node if cluster.gpu else 1
    nodes = max(1, -(-gpus // per_node))
    gpus_per_node = gpus // nodes
    tasks_per_node = max(1, gpus_per_node) if stage.kind == "pretrain" else 1
    account = options.account if options.account and gpus else cluster.full_account("gpu" if gpus else "cpu")
    return Resources(
        nodes=nodes,
        tasks_per_node=tasks_per_node,
        cpus_per_task=cluster.cores_per_gpu if gpus else cluster.cpu_only_cores,
        gpu_option=_gpu_option(cluster.gpu, gpus_per_node, nodes),
        account=account,
        partition=partition.name,
        qos=qos.name if qos and (cluster.qos_required or options.qos) else None,
        constraint=partition.constraint,
        options=(*cluster.header, *(cluster.gpu_header if gpus else ())),
    )
