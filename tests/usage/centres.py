"""Dumps of made-up centres, and the count of what was used: by its own arithmetic, with nothing of the package.

An `Attempt` is what happened. A `Centre` is how a place prints it. `count` says what the tables must say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from random import Random
from zoneinfo import ZoneInfo

DAY_S = 86_400
FIGURES = ("jobs", "cpu_hours", "gpu_hours", "wait_hours", "queue_wait_hours", "never_ran", "pending")
TABLES = ("month", "user", "account", "partition", "qos", "cluster", "gpus")
_ENDS = ("COMPLETED", "COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED by 1000", "DEADLINE")
_NAMES = (
    "train",
    "été 中文",
    "'quo'ted",
    '"open',
    "N" * 500,
    "None",
    "17",
    "a\u2028b",
    "x y",
    "a|b",
    "||",
    "two\nlines",
)


@dataclass(frozen=True)
class Attempt:
    job: str
    raw: int
    name: str
    user: str
    account: str
    partition: str
    qos: str
    cluster: str
    submit: int
    eligible: int
    start: int | None
    end: int | None
    elapsed: int
    """Less than end - start if it was suspended; up to the time of the dump if it is running."""
    state: str
    nodes: int
    cpus: int
    gpus: int
    tasks: int = 1

    @property
    def ran(self) -> bool:
        return (self.start is not None and self.start != self.end) or self.elapsed > 0


def attempts(chance: Random, number: int, zone: str) -> list[Attempt]:
    """Return attempts from September to March, many of them across the end of a month or a clock change."""
    place = ZoneInfo(zone)
    begin = int(datetime(2025, 9, 1, tzinfo=place).timestamp())
    dump = begin + 200 * DAY_S
    edges = [int(datetime(2025, month, 1, tzinfo=place).timestamp()) for month in (10, 11, 12)]
    edges += [at for at in range(begin, dump, 900) if _offset(at, place) != _offset(at - 900, place)]
    made = [one for raw in range(5000, 5000 + 10 * number, 10) for one in _job(chance, raw, begin, dump, edges)]
    chance.shuffle(made)
    return [one for one in made if _is_said_once(one, place)]


def _job(chance: Random, raw: int, begin: int, dump: int, edges: Sequence[int]) -> Iterator[Attempt]:
    start = chance.choice(edges) - chance.randrange(9000) if chance.random() < 0.4 else chance.randrange(begin, dump)
    held, wait = chance.choice((1, 3600, DAY_S, chance.randrange(1, 300_000))), chance.randrange(90_000)
    gpus, nodes = chance.choice((0, 0, 1, 2, 3, 8, 64)), chance.choice((1, 2, 12))
    one = Attempt(
        job=str(raw), raw=raw, name=chance.choice(_NAMES), user=chance.choice(("ada", "Zoë", "svc-x")),
        account=chance.choice(("abc@h100", "proj_1")), partition=chance.choice(("gpu_p6", "cpu_p1")),
        qos=chance.choice(("qos_gpu-t3", "dev")), cluster=chance.choice(("one", "two")), submit=start - wait,
        eligible=start - wait // 2, start=start, end=start + held, elapsed=held, state=chance.choice(_ENDS),
        nodes=nodes, cpus=nodes * chance.choice((1, 7, 96)), gpus=gpus,
    )  # fmt: skip
    match chance.randrange(12):
        case 0:  # two parts of a heterogeneous job
            yield replace(one, job=f"{raw}+0")
            yield replace(one, job=f"{raw}+1", raw=raw + 1, gpus=0, cpus=7)
        case 1:  # an array, of which some tasks still wait
            yield replace(one, job=f"{raw}_3", raw=raw + 1)
            yield replace(one, job=f"{raw}_[4-6,9%2]", state="PENDING", start=None, end=None, elapsed=0, tasks=4)
        case 2:  # preempted and requeued
            yield replace(one, state="PREEMPTED")
            yield replace(one, submit=start + held, eligible=start + held + 120, start=start + held + 500,
                          end=start + held + 4100, elapsed=3600)  # fmt: skip
        case 3:  # cancelled while it waited
            yield replace(one, state="CANCELLED by 1000", end=start, elapsed=0)
        case 4:  # running when the dump was made
            yield replace(one, state="RUNNING", submit=dump - 9000, eligible=dump - 9000, start=dump - 7000,
                          end=None, elapsed=7000)  # fmt: skip
        case 5:  # suspended for a while
            yield replace(one, elapsed=held - held // 3)
        case 6:  # resized: Slurm closes the row and opens another
            yield replace(one, state="RESIZING")
            yield replace(one, submit=start + held, eligible=start + held, start=start + held,
                          end=start + held + 60, elapsed=60, gpus=gpus // 2)  # fmt: skip
        case _:
            yield one


def _offset(at: int, place: ZoneInfo) -> object:
    return datetime.fromtimestamp(at, place).utcoffset()


def _is_said_once(one: Attempt, place: ZoneInfo) -> bool:
    """False if local times without an offset are ambiguous and no duration decides."""
    repeated = [at is not None and datetime.fromtimestamp(at, place).fold == 1 for at in
                (one.submit, one.eligible, one.start, one.end)]  # fmt: skip
    return sum(repeated) == 0 or (
        repeated[:2] == [False, False] and sum(repeated) == 1 and one.end is not None and one.start is not None
        and one.ran and one.end - one.start == one.elapsed
    )  # fmt: skip


def count(rows: Sequence[Attempt], zone: str) -> dict[tuple[str, str], dict[str, Fraction]]:
    """Return (table, line) -> figures: jobs by their end, waits by their start, hours by the second."""
    place = ZoneInfo(zone)
    sums: dict[tuple[str, str], dict[str, Fraction]] = defaultdict(lambda: dict.fromkeys(FIGURES, Fraction(0)))

    def add(one: Attempt, at: int, figure: str, value: Fraction | int) -> None:
        for table in TABLES:
            if table != "gpus" or one.ran:
                line = {"month": _month(at, place), "gpus": _size(one.gpus)}.get(table) or getattr(one, table)
                sums[table, line][figure] += value

    for one in rows:
        if one.start is None or not one.ran:
            add(one, one.submit if one.end is None else one.end, "pending" if one.end is None else "never_ran",
                one.tasks)  # fmt: skip
            continue
        add(one, one.start + one.elapsed if one.end is None else one.end, "jobs", 1)
        add(one, one.start, "wait_hours", Fraction(one.start - one.submit, 3600))
        add(one, one.start, "queue_wait_hours", Fraction(one.start - one.eligible, 3600))
        at, end = one.start, one.start + one.elapsed if one.end is None else one.end
        active = Fraction(one.elapsed, end - at)
        while at < end:
            cut = min(end, _next_month(at, place))
            add(one, at, "cpu_hours", active * (cut - at) * one.cpus / 3600)
            add(one, at, "gpu_hours", active * (cut - at) * one.gpus / 3600)
            at = cut
    return dict(sums)


def _month(at: int, place: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at, place):%Y-%m}"


def _next_month(at: int, place: ZoneInfo) -> int:
    day = datetime.fromtimestamp(at, place)
    return int(datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=place).timestamp())


def _size(gpus: int) -> str:
    return {0: "0", 1: "1", 2: "2", 3: "3-4", 4: "3-4", 8: "5-8", 32: "17-32", 64: "33-64"}[gpus]


@dataclass(frozen=True)
class Centre:
    columns: Sequence[str]
    zone: str
    delimiter: str = "|"
    end: str = "\n"
    time: str = "%Y-%m-%dT%H:%M:%S"
    gpus: str = "gres/gpu={0},gres/gpu:h100={0}"
    has: Callable[[Attempt], bool] = lambda _: True
    """Which attempts it can print."""

    def dump(self, rows: Sequence[Attempt]) -> str:
        lines = [list(self.columns)]
        for one in rows:
            cells = self._cells(one)
            lines.append([cells.get(column, "") for column in self.columns])
            if one.ran:
                step = cells | {"JobID": f"{one.job}.batch", "JobIDRaw": f"{one.raw}.batch", "JobName": "batch"}
                lines.append([step.get(column, "") for column in self.columns])
        return "".join(f"{self.delimiter.join(cells)}{self.end}" for cells in lines)

    def _cells(self, one: Attempt) -> dict[str, str]:
        held = f"billing={one.cpus},cpu={one.cpus},energy=18446744073709551614,mem=1.50T,node={one.nodes}"
        held += f",{self.gpus.format(one.gpus)}" if one.gpus else ""
        days, rest = divmod(one.elapsed, DAY_S)
        clock = (f"{days}-" if days else "") + f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        suspended = 0 if one.start is None or one.end is None else one.end - one.start - one.elapsed
        names = {"job": "JobID", "raw": "JobIDRaw", "name": "JobName", "user": "User", "account": "Account",
                 "partition": "Partition", "qos": "QOS", "cluster": "Cluster", "state": "State", "cpus": "NCPUS",
                 "nodes": "NNodes", "elapsed": "ElapsedRaw"}  # fmt: skip
        times = {"Submit": one.submit, "Eligible": one.eligible, "Start": one.start, "End": one.end}
        return (
            {column: str(getattr(one, field)) for field, column in names.items()}
            | {column: self._spelled(at) for column, at in times.items()}
            | {
                "Elapsed": clock,
                "Suspended": f"{suspended // 3600:02d}:{suspended // 60 % 60:02d}:{suspended % 60:02d}",
            }
            | {"AllocTRES": held if one.ran else "", "ReqTRES": held, "ConsumedEnergyRaw": "18446744073709551614"}
            | {"NodeList": "n[1-4],x-y03" if one.ran else "None assigned", "WorkDir": "/w/x y", "ExitCode": "0:0"}
            | {"Comment": "note" if one.raw % 20 else "k=v|w", "DerivedExitCode": "0:0", "Timelimit": "20:00:00"}
            | {
                "ReqCPUS": str(one.cpus),
                "AllocCPUS": str(one.cpus),
                "UID": "1000",
                "GID": "100",
                "Flags": "SchedBackfill",
                "Restarts": "0",
            }
            | {"CPUTimeRAW": str(one.cpus * one.elapsed), "TotalCPU": "1-02:03:04", "ReqMem": "4G", "Priority": "17"}
        )

    def _spelled(self, at: int | None) -> str:
        return "Unknown" if at is None else datetime.fromtimestamp(at, ZoneInfo(self.zone)).strftime(self.time)
