"""Between two waves: one small job waits for the last jobs of a wave, then submits what did not fit into it.

    <workspace>/submissions/continue-<order>-<number>/order.json   what it submits; it reads nothing else

It is numbered because it sends its own successor while it is running. If the same order is submitted again while it is
pending, the submission finds it in the queue and updates its file, so there are never two.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from detour.config.cluster import Cluster
from detour.config.fields import WITH_UNITS
from detour.errors import SchedulerUnavailable, UserError
from detour.files import write_atomic
from detour.ledger.folders import make_folder
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal
from detour.ledger.process import user_name
from detour.ledger.workspace import Workspace
from detour.orchestration.requests import JobOptions
from detour.orchestration.slurm import submission_folder, submitter
from detour.planning.files import known_outline
from detour.scheduler.commands import Slurm
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.snapshot import take_snapshot
from detour.scheduler.states import Standing
from detour.scheduler.submission_script import ScriptStyle
from detour.scheduler.tags import Slot

PREFIX, ORDER = "continue", "order.json"
WALL_S = 1800
MODULE = "detour.jobs.next_wave"


@dataclass(frozen=True, slots=True)
class Continuation:
    """An order whose next wave is sent by a job, with all its options."""

    name: str
    sweep: str | None
    chains: Mapping[str, tuple[str, ...]]
    """Chain -> ids of its stages."""
    cluster: Cluster
    options: JobOptions
    done: int
    """Number of stages that were done when the wave was sent."""
    why_over: str | None = None

    @property
    def id(self) -> str:
        return hashlib.sha256(" ".join([self.name, *self.chains]).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sweep": self.sweep,
            "chains": dict(self.chains),
            "cluster": self.cluster.model_dump(mode="json", context=WITH_UNITS),
            "options": asdict(self.options),
            "done": self.done,
            "why_over": self.why_over,
        }

    @classmethod
    def read(cls, workspace: Workspace, unit: str) -> Continuation:
        """Raises UserError if there is none of this name, or it is damaged."""
        path = submission_folder(workspace, unit) / ORDER
        try:
            data = json.loads(path.read_bytes())
            chains = {chain: tuple(stages) for chain, stages in data["chains"].items()}
            cluster, options = Cluster.model_validate(data["cluster"]), JobOptions(**data["options"])
            return cls(**data | {"chains": chains, "cluster": cluster, "options": options})
        except FileNotFoundError:
            raise UserError(f"{path}: no such order") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not an order written by detour ({error}); submit the recipe again") from error


def still_planned(workspace: Workspace, continuation: Continuation) -> Continuation:
    """The order without stages that its chains no longer have: nothing shows or cancels these.

    A chain whose plan cannot be read keeps all.
    """
    left = {}
    for chain, ids in continuation.chains.items():
        outline = known_outline(workspace, chain)
        planned = ids if outline is None else {stage.id for stage in outline.stages}
        left[chain] = tuple(one for one in ids if one in planned)
    return replace(
        continuation, chains=left, done=continuation.done - _done_and_left_out(workspace, continuation.chains, left)
    )


def any_to_come(workspace: Workspace) -> bool:
    """Whether a wave may still have something to send."""
    for path in _latest(workspace):
        with suppress(UserError):
            ordered = still_planned(workspace, Continuation.read(workspace, path.parent.name))
            if not all(map(workspace.is_done, _stages_of(ordered.chains))):
                return True
    return False


def _done_and_left_out(
    workspace: Workspace, before: Mapping[str, Collection[str]], after: Mapping[str, Collection[str]]
) -> int:
    """Number of done stages that are in no chain any more: what was done with them must not hide later progress."""
    return sum(map(workspace.is_done, _stages_of(before) - _stages_of(after)))


def _stages_of(chains: Mapping[str, Collection[str]]) -> set[str]:
    return {one for ids in chains.values() for one in ids}


def is_replaced(workspace: Workspace, unit: str) -> bool:
    """Whether its order was submitted again while its job was running: that sent the wave, and ordered the next one."""
    return not any(path.parent.name == unit for path in _latest(workspace))


def last_jobs(requests: Iterable[JobRequest], jobs: Mapping[Slot, str]) -> list[str]:
    """The last jobs of a wave: those that no other job of it waits for, with all their segments."""
    requests = list(requests)
    stages = {request.unit: set(request.stages) for request in requests}
    present = {slot.unit for slot in jobs}
    waited = {stage for request in requests if request.unit in present for stage in request.after}
    return [job for slot, job in jobs.items() if not waited & stages.get(slot.unit, set())]


def send_continuation(
    workspace: Workspace,
    journal: Journal,
    slurm: Slurm,
    style: ScriptStyle,
    continuation: Continuation,
    ends: Sequence[str],
) -> str:
    """The id of the job that continues the order, sent now or pending already. The caller holds the claim to submit.

    Raises SchedulerUnavailable or SubmissionRefused.
    """
    unit = _unit(workspace, slurm, continuation)
    make_folder(workspace.root, submission_folder(workspace, unit))
    write_atomic(submission_folder(workspace, unit) / ORDER, json.dumps(continuation.to_json(), indent=1))
    request = JobRequest(
        ((unit,),),
        _resources(continuation.cluster),
        WALL_S,
        "next wave",
        after_jobs=tuple(ends),
        module=MODULE,
    )
    return submitter(workspace, journal, slurm, style).submit([request]).jobs[Slot(unit)]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a cancellation took out of the waves that are still to come."""

    stages: tuple[str, ...]
    """Ids of stages that they will not send."""
    ended: Mapping[str, str]
    """Unit -> its name for people, of every continuation that has nothing left to send."""


def leave_out(workspace: Workspace, chains: Collection[str], stages: Collection[str]) -> LeftOut:
    """Take whole chains, and these stages of others, out of the orders of this user's latest continuations.

    A submission writes its order anew, so what is submitted again is in the next wave again.
    """
    left_out, ended = dict[str, None](), {}
    for path in _latest(workspace):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            data = json.loads(path.read_bytes())
            ordered: dict[str, list[str]] = data["chains"]
            left = {
                chain: [one for one in ids if chain not in chains and one not in stages]
                for chain, ids in ordered.items()
            }
            after = _stages_of(left)
            if after == _stages_of(ordered):
                continue
            if all(map(workspace.is_done, after)):
                ended[path.parent.name] = f"next wave of {data['name']}"
            done = data["done"] - _done_and_left_out(workspace, ordered, left)
            _rewrite(path, data | {"chains": left, "done": done})
            left_out |= dict.fromkeys(one for ids in ordered.values() for one in ids if one not in after)
    return LeftOut(tuple(one for one in left_out if not workspace.is_done(one)), ended)


def _rewrite(path: Path, data: Mapping[str, Any]) -> None:
    """Write an order if it is this user's; its time stays, which says when the wave was ordered."""
    status = path.stat()
    if status.st_uid == os.getuid():
        write_atomic(path, json.dumps(data, indent=1))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _latest(workspace: Workspace) -> list[Path]:
    """The last order of each continuation: those before it have been sent."""
    latest: dict[str, tuple[int, Path]] = {}
    for path in (workspace.root / "submissions").glob(f"{PREFIX}-*/{ORDER}"):
        name, _, number = path.parent.name.rpartition("-")
        if number.isdecimal():
            latest[name] = max((int(number), path), latest.get(name, (0, path)))
    return [path for _, path in latest.values()]


def continuations(workspace: Workspace, chains: Sequence[str]) -> dict[str, str]:
    """Unit -> its name for people, of every continuation that was ever to send jobs of these chains.

    A damaged order is left out: its job cannot read it either, and sends nothing.
    """
    found = {}
    for path in sorted((workspace.root / "submissions").glob(f"{PREFIX}-*/{ORDER}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(path.read_bytes())
            if not set(data["chains"]).isdisjoint(chains):
                found[path.parent.name] = f"next wave of {data['name']}"
    return found


def _unit(workspace: Workspace, slurm: Slurm, continuation: Continuation) -> str:
    """The unit that is pending in the queue, otherwise a new one: a running one may have read its order already."""
    snapshot = take_snapshot(slurm, [user_name()])
    if snapshot.queue is None:
        raise SchedulerUnavailable("; ".join(snapshot.missing))
    prefix = f"{PREFIX}-{continuation.id}-"
    for record in snapshot.tagged(workspace_id(workspace.root)):
        waits = record.state.standing is Standing.WAITING
        if waits and record.tag is not None and record.tag.unit.startswith(prefix):
            return record.tag.unit
    used = (folder.name.removeprefix(prefix) for folder in (workspace.root / "submissions").glob(f"{prefix}*"))
    return f"{prefix}{1 + max((int(number) for number in used if number.isdecimal()), default=0)}"


def qos_kept_free(cluster: Cluster) -> list[str | None]:
    """The QOS in which a wave leaves one place: that of the job that sends the next, if jobs may send any."""
    return [_resources(cluster).qos] if cluster.compute_nodes_submit else []


def _resources(cluster: Cluster) -> Resources:
    """The smallest allocation in the CPU partition."""
    qos = cluster.default_qos("cpu")
    return Resources(
        cpus_per_task=1,
        account=cluster.full_account("cpu"),
        partition=cluster.cpu_partition.name,
        qos=qos.name if qos and cluster.qos_required else None,
        constraint=cluster.cpu_partition.constraint,
        options=cluster.header,
    )
