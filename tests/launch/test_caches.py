"""Whatever a user, a job or a disk does, `status`, `show` and `report` say the same with caches as without."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detour.accounting.hours import AttemptUsage, gpu_hours
from detour.launch.quick import answered
from detour.launch.text.show import shown_json
from detour.ledger import cache, private
from detour.ledger import view as views
from detour.ledger.compaction import compact
from detour.ledger.events import ChainPlanned, ChainPriced, EnergyRead, JobAccounted
from detour.ledger.journal import Journal
from detour.ledger.record import encode
from detour.ledger.workspace import Workspace
from detour.monitoring import done_chains
from detour.monitoring.monitor import Monitor
from detour.planning import outlines
from detour.planning.files import Target, read_plan, write_plan
from detour.planning.plan import Plan
from detour.planning.selection import select
from detour.planning.stage import Stage
from detour.rendering.formats import json_report
from detour.reporting import output_cache
from detour.reporting.build import Question, build_report
from detour.reporting.period import Period
from detour.site import Hourly, Site, Sourced
from tests.ledger.records import make_record
from tests.reporting.fabricate import EPOCH_S, HELD, Clock, Made, record_chain, stages_of

WORTH = (
    (views, "WORTH_KEEPING"),
    (views, "WORTH_SHARE"),
    (cache, "HISTORY_WORTH_KEEPING"),
    (done_chains, "WORTH_KEEPING"),
    (outlines, "WORTH_KEEPING"),
    (output_cache, "WORTH_KEEPING"),
)
"""Thresholds below which nothing is cached."""
STAGES = stages_of("causal", seeds=(42,))
PART = Period(since_s=EPOCH_S + 30.0, until_s=EPOCH_S + 100.0, time_zone="Europe/Paris")


@dataclass
class World:
    """A workspace, what is beside it on the disk, and what a command finds in its process."""

    folder: Path
    workspace: Workspace
    clock: Clock
    version: int = 1
    """Of the code, in which GPU-hours are computed differently."""
    pue: float = 1.2
    attempts: int = 1
    snapshots: list[Path] = field(default_factory=list)

    @property
    def made(self) -> Made:
        return Made(self.workspace, self.clock)

    def site(self, _name: str | None = "local") -> Site:
        hourly = Hourly(str(self.folder / "hours.csv"), "the grid")
        core, grid = Sourced(12.0, "test"), Sourced(50.0, "test")
        return Site("local", pue=Sourced(self.pue, "test"), grid_g_per_kwh=grid, core_w=core, hourly=hourly)

    def journal(self, place: int) -> Path:
        found = sorted(self.workspace.ledger.glob("*/*.jsonl"))
        return found[place % len(found)]

    @property
    def node(self) -> Path:
        return self.folder / "node"


def plan(world: World, name: str, stages: Sequence[Stage]) -> None:
    write_plan(world.workspace, Plan(name, tuple(stages)), Target(cluster="local", site=world.site(), sweep="s"))


def chains(world: World) -> list[str]:
    return sorted(folder.name for folder in (world.workspace.root / "chains").iterdir())


def add_attempt(world: World, place: int) -> None:
    """An attempt that ends well, fails or is killed; of a stage that is done, a retry."""
    stage, outcome = STAGES[place % len(STAGES)], ("done", "failed", None)[place % 3]
    world.attempts += 1
    begun_s = world.clock.now_s
    with world.made.attempt(stage, world.attempts, HELD | {"gpus": 2}) as attempt:
        world.clock.now_s += 10.0
        attempt.event(EnergyRead(why="end", node="n", began_s=begun_s, elapsed_s=10.0, gpus={"GPU-1": GPU}))
        if outcome is not None:
            shutil.rmtree(world.workspace.output(stage.id), ignore_errors=True)
            world.made.finish(stage, attempt, begun_s, {}, outcome)


GPU: Any = {
    "counter_j": 5e3,
    "power_w": 500.0,
    "energy_j": 1e3,
    "sampled_j": 0.0,
    "seen_s": 10.0,
    "resets": 0,
    "share": 1.0,
}


def plan_again(world: World, place: int) -> None:
    """For a site with another PUE, perhaps with a stage less."""
    name = chains(world)[place % len(chains(world))]
    world.pue += 0.1
    known, _ = read_plan(world.workspace, name)
    plan(world, name, known.stages[: max(2, len(known.stages) - place % 2)])


def share_stages(world: World, place: int) -> None:
    """Another user plans a chain of the same first stages."""
    name = f"shared-{place}"
    plan(world, name, STAGES[: 2 + place % 5])
    with Journal.open(world.workspace, "command-other") as journal:
        journal.append(ChainPlanned(stages=[], cluster="local"), chain=name)


def remove_chain(world: World, place: int) -> None:
    names = chains(world)
    if len(names) > 1:
        shutil.rmtree(world.workspace.chain(names[place % len(names)]))


def collect(world: World, place: int) -> None:
    """Remove an output, as `gc` does."""
    shutil.rmtree(world.workspace.stage(STAGES[place % len(STAGES)].id), ignore_errors=True)


def price(world: World, place: int) -> None:
    quoted: Any = {"kind": "pretrain", "gpus": 1, "cores": 1, "gpu_hours": None, "source": "estimate"}
    quoted |= {"stages": [STAGES[place % len(STAGES)].id], "wall_s": [1.0, 10.0 + place, 90.0]}
    with Journal.open(world.workspace, "prices") as journal:
        journal.append(ChainPriced(name="base", cluster="local", prices=[quoted]))


def account(world: World, place: int) -> None:
    run = JobAccounted(source="sacct", start_s=EPOCH_S, elapsed_s=900.0 + place, gpus=2, stages=[STAGES[0].id])
    with Journal.open(world.workspace, "accounts") as journal:
        journal.append(run, job=("77", "78")[place % 2])


def same_size_and_time(path: Path, old: str, new: str) -> None:
    before, other = path.stat(), path.with_name("other")
    other.write_text(path.read_text().replace(old, new))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def other_factors(world: World, place: int) -> None:
    same_size_and_time(world.folder / "hours.csv", ",5", ",6") if place % 2 else write_factors(world.folder, place)


def write_factors(folder: Path, factor: int) -> None:
    hour = time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(EPOCH_S))
    (folder / "hours.csv").write_text(f"hour,g_per_kwh\n{hour},5{factor}\n")


def other_scores(world: World, _place: int) -> None:
    for path in world.workspace.root.glob("stages/evaluate-*/output/result.json"):
        same_size_and_time(path, '"macro_f1": 0.7', '"macro_f1": 0.2')


def cut_journal(world: World, place: int) -> None:
    """A full disk cuts a journal, and its writer continues with other records."""
    path = world.journal(place)
    content = path.read_bytes()
    os.truncate(path, len(content) * (place % 7) // 7)
    kept = path.read_bytes()
    number = kept.count(b"\n")
    later = [make_record(path.stem, number + one, stage=STAGES[1].id, job="77") for one in range(place % 40)]
    path.write_bytes(kept[: kept.rfind(b"\n") + 1] + b"".join(map(encode, later)))


def hole_in_journal(world: World, place: int) -> None:
    path = world.journal(place)
    content = path.read_bytes()
    (world.folder / "filled").write_bytes(content)
    (world.folder / "which").write_text(path.name)
    middle = len(content) // 2
    with path.open("r+b") as file:
        file.seek(middle)
        file.write(b"\0" * min(300, len(content) - middle))


def fill_hole(world: World, _place: int) -> None:
    """The file server writes what was missing, and the writer adds a record."""
    if (world.folder / "which").exists():
        for path in world.workspace.ledger.glob(f"*/{(world.folder / 'which').read_text()}"):
            content = (world.folder / "filled").read_bytes()
            later = make_record(path.stem, content.count(b"\n"), stage=STAGES[1].id, job="77")
            with path.open("r+b") as file:
                file.write(content + encode(later))


def merge_journals(world: World, _place: int) -> None:
    compact(world.workspace, now_s=time.time() + 400 * 86_400.0)


def copy(world: World, place: int) -> None:
    """Continue in a copy that keeps all times, under another path or in place of the original."""
    root = world.workspace.root
    twin = world.folder / f"copy-{place % 2}"
    if twin == root or twin.exists():
        return
    shutil.copytree(root, twin, symlinks=True)
    if place % 3:
        shutil.rmtree(root)
        twin.rename(root)
    else:
        world.workspace = Workspace(twin)


def move(world: World, place: int) -> None:
    target = world.folder / f"moved-{place % 2}"
    if not target.exists():
        world.workspace = Workspace(world.workspace.root.rename(target))


def save(world: World, _place: int) -> None:
    snapshot = world.folder / f"snapshot-{len(world.snapshots)}"
    shutil.copytree(world.workspace.root, snapshot, symlinks=True)
    world.snapshots.append(snapshot)


def restore(world: World, place: int) -> None:
    """Remove the workspace, and bring an earlier one back with its times."""
    if world.snapshots:
        shutil.rmtree(world.workspace.root)
        shutil.copytree(world.snapshots[place % len(world.snapshots)], world.workspace.root, symlinks=True)


def old_caches(world: World, place: int) -> None:
    """Caches of an earlier moment, or of which one is damaged."""
    aside = world.folder / "node-before"
    if place % 2 and aside.exists():
        shutil.rmtree(world.node)
        shutil.copytree(aside, world.node)
    elif files := sorted(world.node.glob("*/*")):
        shutil.copytree(world.node, aside, dirs_exist_ok=True)
        damaged = files[place % len(files)]
        content = bytearray(damaged.read_bytes())
        content[len(content) * (place % 5) // 5] ^= 1
        damaged.write_bytes(content)


def upgrade(world: World, _place: int) -> None:
    world.version += 1


def step_back(world: World, place: int) -> None:
    world.clock.now_s -= 600.0 * place


def other_settings(_world: World, place: int) -> None:
    os.environ["TZ"] = ("UTC", "Asia/Kolkata")[place % 2]
    os.environ["DETOUR_WORKSPACE"] = "/elsewhere"
    time.tzset()


MUTATIONS: tuple[Callable[[World, int], None], ...] = (
    *(add_attempt, plan_again, share_stages, remove_chain, collect, price, account, other_factors, other_scores),
    *(cut_journal, hole_in_journal, fill_hole, merge_journals, copy, move, save, restore, old_caches, upgrade),
    *(step_back, other_settings),
)


def answers(world: World, period: Period) -> dict[str, Any]:
    """What the verbs say: as data, and the text that a plain `detour status` shows."""
    workspace, now_s = world.workspace, world.clock.now_s
    status = Monitor(workspace).look(now_s=now_s)
    name = chains(world)[0]
    text = StringIO()
    with redirect_stdout(text):
        assert answered(["status", "-w", str(workspace.root)])
    return {
        "status": Monitor(workspace, with_segments=False).look(now_s=now_s).to_json(),
        "status --json": status.to_json(),
        "show": shown_json(Monitor(workspace).look((name,), now_s=now_s), select(workspace, (name,))),
        "report": json.loads(json_report(build_report(workspace, Question(period=period), world.site, now_s))),
        "text": text.getvalue(),
    }


@contextmanager
def process(world: World, node: Path, worth: int) -> Iterator[None]:
    """A new process on a node, whose commands cache anything or, with a large `worth`, nothing new."""
    node.mkdir(exist_ok=True)

    def hours(usage: AttemptUsage) -> float | None:
        known = gpu_hours(usage)
        return None if known is None else known * world.version

    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"TMPDIR": str(node)}))
        stack.enter_context(patch.object(private, "SETTLED_NS", -(10**12)))
        stack.enter_context(patch("detour.monitoring.rows.gpu_hours", hours))
        for user in ("detour.ledger.cache", "detour.monitoring.status_cache"):
            stack.enter_context(patch(f"{user}.code_version", lambda: str(world.version)))
        for module, name in WORTH:
            stack.enter_context(patch.object(module, name, worth))
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two chains that are done."""
    workspace = Workspace(tmp_path_factory.mktemp("original") / "workspace")
    workspace.create()
    made = Made(workspace)
    record_chain(made, "base", STAGES, 0.719, killed_at=200_704)
    record_chain(made, "twin", (*STAGES[:2], *stages_of("causal", seeds=(43,))[2:]), 0.701)
    return workspace.root


STEPS = st.lists(
    st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 60), st.sampled_from((True, True, False))),
    min_size=6,
    max_size=9,
)
"""Changes, a number that says which of its kind, and whether the commands that follow cache what they read."""


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_after_any_changes_all_answers_equal_those_without_caches(
    original: Path, steps: list[tuple[Callable[[World, int], None], int, bool]]
) -> None:
    with TemporaryDirectory() as name, patch.dict(os.environ):
        folder = Path(name)
        shutil.copytree(original, folder / "workspace", symlinks=True)
        world = World(folder, Workspace(folder / "workspace"), Clock(EPOCH_S + 5000.0))
        write_factors(folder, 5)
        for chain in chains(world):
            plan(world, chain, read_plan(world.workspace, chain)[0].stages)
        for number, (mutate, place, is_kept) in enumerate([(save, 0, True), *steps]):
            mutate(world, place)
            period = PART if place % 2 else Period()
            with process(world, world.node, 0 if is_kept else 10**9):
                warm = answers(world, period)
            with process(world, folder / f"empty-{number}", 10**9):
                cold = answers(world, period)
            assert warm == cold, mutate.__name__
    time.tzset()
