"""What to request from Slurm: jobs before they have an id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from detour.scheduler.tags import Slot, unit_of


@dataclass(frozen=True, slots=True)
class Resources:
    """What one job requests; None leaves it to the site."""

    nodes: int = 1
    tasks_per_node: int = 1
    cpus_per_task: int | None = None
    gpu_option: str | None = None
    """The whole option, such as `gres=gpu:4`; None if the site allocates whole nodes, or for no GPU."""
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    options: tuple[str, ...] = ()
    """Further sbatch options, one each, such as `--hint=nomultithread`."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One unit: a job or an array of equal jobs, with its segments if the time limit may cut it.

    A later segment of an array starts when the whole earlier one has ended and one of its tasks did not succeed; tasks
    whose stages are done end at once.
    """

    tasks: tuple[tuple[str, ...], ...]
    """Stage ids that each array task runs in turn; a single task is a plain job."""
    resources: Resources
    wall_s: int
    label: str = ""
    """For people only; without the number of stages, which `title` adds."""
    segments: int = 1
    after: tuple[str, ...] = ()
    """Ids of stages that must have succeeded; those without a job any more count as done."""
    after_each: tuple[tuple[str, ...], ...] = ()
    """Which of `after` each task waits for; if empty, every task waits for all of them."""
    after_jobs: tuple[str, ...] = ()
    """Ids of jobs that must have ended, successfully or not."""
    parallelism: int | None = None
    """Number of tasks of an array that may run at once."""
    module: str = "detour.jobs"
    """The module Python runs, with the workspace and the stages as arguments."""
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.unit:
            object.__setattr__(self, "unit", unit_of(self.stages))
        if self.after_each and len(self.after_each) != len(self.tasks):
            raise ValueError(f"{self.unit}: {len(self.after_each)} tasks wait, of {len(self.tasks)}")

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(stage for task in self.tasks for stage in task)

    @property
    def title(self) -> str:
        """`evaluate icd10-chapters x3`."""
        return f"{self.label} x{len(self.stages)}" if len(self.stages) > 1 else self.label

    @property
    def is_array(self) -> bool:
        return len(self.tasks) > 1

    def only(self, indexes: Sequence[int]) -> JobRequest:
        """The same request for some of its tasks, as its own unit."""
        each = tuple(self.after_each[index] for index in indexes) if self.after_each else ()
        after = tuple(dict.fromkeys(stage for stages in each for stage in stages)) if each else self.after
        tasks = tuple(self.tasks[index] for index in indexes)
        return replace(self, tasks=tasks, after=after, after_each=each, unit="")

    def without(self, stages: Collection[str]) -> JobRequest | None:
        """The same request, as its own unit, without these stages; None if nothing is left."""
        tasks = [tuple(stage for stage in task if stage not in stages) for task in self.tasks]
        if tasks == list(self.tasks):
            return self
        left = [index for index, task in enumerate(tasks) if task]
        return replace(self.only(left), tasks=tuple(filter(None, tasks)), unit="") if left else None

    @property
    def jobs(self) -> int:
        """Number of jobs towards Slurm's submit limits, which count array tasks individually."""
        return len(self.tasks) * self.segments

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(Slot(self.unit, segment) for segment in range(1, self.segments + 1))


def split_arrays(requests: Sequence[JobRequest], max_array_size: int | None) -> list[JobRequest]:
    """Split arrays with more tasks than the site's MaxArraySize."""
    size = max_array_size or max((len(request.tasks) for request in requests), default=1)
    return [
        request if len(request.tasks) <= size else request.only(range(len(request.tasks))[first : first + size])
        for request in requests
        for first in range(0, len(request.tasks), size)
    ]


def in_order(requests: Iterable[JobRequest]) -> list[JobRequest]:
    """Every request after those it waits for; otherwise in the given order.

    Raises ValueError for a cycle, or a stage requested twice. Stages that are waited for but not requested are
    submitted elsewhere.
    """
    by_unit: dict[str, JobRequest] = {}
    owner: dict[str, str] = {}
    for request in requests:
        by_unit[request.unit] = request
        for stage in request.stages:
            if stage in owner:
                raise ValueError(f"{stage} is requested twice")
            owner[stage] = request.unit
    waits = {unit: [owner[stage] for stage in r.after if stage in owner] for unit, r in by_unit.items()}
    try:
        return [by_unit[unit] for unit in TopologicalSorter(waits).static_order()]
    except CycleError as error:
        raise ValueError(f"jobs that wait for each other: {' -> '.join(error.args[1])}") from error


def jobs_by_qos(requests: Iterable[JobRequest]) -> Counter[str | None]:
    """Number of jobs of these requests in each QOS."""
    counts = Counter[str | None]()
    for request in requests:
        counts[request.resources.qos] += request.jobs
    return counts


def room_left(
    limits: Mapping[str | None, int],
    kept_free: Collection[str | None],
    there: Mapping[str | None, int],
    wanted: Mapping[str | None, int],
) -> dict[str | None, int]:
    """What is left of each QOS's limit next to the jobs that are `there`.

    If not everything that is wanted fits, one place of the QOS in `kept_free` is left to the job that sends the rest.
    """
    room = {qos: max(0, limit - there.get(qos, 0)) for qos, limit in limits.items()}
    if any(wanted.get(qos, 0) > left for qos, left in room.items()):
        room |= {qos: max(min(room[qos], 1), room[qos] - 1) for qos in kept_free if qos in room}
    return room


def first_wave(
    requests: Sequence[JobRequest], room: Mapping[str | None, int]
) -> tuple[list[JobRequest], list[JobRequest]]:
    """What fits, and the rest, which is sent later. `room` has the number of further jobs of each QOS with a limit.

    Units are taken whole and in order, never before one they wait for, so no wave refers to a job that is not there. If
    nothing fits, the first job with several segments is sent with as many segments as there is room for; nothing may
    follow it then.
    """
    wave: list[JobRequest] = []
    later: list[JobRequest] = []
    postponed: set[str] = set()
    taken = Counter[str | None]()
    for request in requests:
        qos = request.resources.qos
        fits = qos not in room or request.jobs <= room[qos] - taken[qos]
        if postponed.intersection(request.after) or not fits:
            later.append(request)
            postponed.update(request.stages)
        else:
            wave.append(request)
            taken[qos] += request.jobs
    left = 0 if wave or not later or later[0].is_array else min(room[later[0].resources.qos], later[0].segments)
    return ([replace(later[0], segments=left)], later[1:]) if left > 0 else (wave, later)
