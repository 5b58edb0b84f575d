"""What all work with Slurm shares: the ledger as submission sees it, the submitter, the folders of scripts and logs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from detour.config.cluster import Cluster
from detour.environment import VARIABLE as EXPECTED
from detour.environment import expected_environment
from detour.errors import UserError
from detour.files import write_atomic
from detour.ledger.claims import Claim, ClaimHeld, claim
from detour.ledger.events import JobEvent
from detour.ledger.folders import make_folder
from detour.ledger.identity import establish, workspace_id
from detour.ledger.journal import Journal
from detour.ledger.process import users_here
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.code_snapshot import python_path
from detour.scheduler.commands import Slurm
from detour.scheduler.control import Control
from detour.scheduler.dependency import Dependency
from detour.scheduler.requests import JobRequest
from detour.scheduler.sending import ScriptWriter
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.submission import Submitter
from detour.scheduler.submission_script import ScriptStyle, gate_of, submission_script, tasks_in
from detour.scheduler.tags import Tag, Tasks, unit_of

SUBMISSION_CLAIM = "submission"
CLAIM_PATIENCE_S = 120.0
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


class WorkspaceLedger:
    """`detour.scheduler.sent_jobs.SubmissionLedger` over the workspace's journals."""

    def __init__(self, workspace: Workspace, journal: Journal, *, may_wait: bool = False) -> None:
        """With `may_wait`, an event that the ledger cannot take now may wait on this node (see `Journal`)."""
        self._journal, self._may_wait = journal, may_wait
        self._view = LedgerView(workspace)

    def append(self, event: JobEvent) -> None:
        """Raises UserError if the event is not on disk, unless it may wait: nothing may be sent without a record."""
        self._journal.append(event)
        if not self._journal.flush() and not self._may_wait:
            ledger = self._view.workspace.ledger
            raise UserError(f"{ledger}: the ledger cannot be written (disk full?): nothing more was sent")

    def events(self) -> list[JobEvent]:
        self._view.refresh()
        return [entry.event for entry in self._view.commands(JobEvent)]

    def users(self) -> list[str]:
        """Users who may have jobs of this workspace: this user, then those who wrote to its ledger."""
        self._view.refresh()
        return users_here(self._view.state.users)

    def since_s(self) -> float:
        """As `State.sent_since_s`."""
        return self._view.state.sent_since_s


@contextmanager
def submitting(workspace: Workspace, on_wait: Callable[[str], None], *, without_room: bool = False) -> Iterator[Claim]:
    """The right to change what this workspace has in Slurm; waits up to two minutes for another holder.

    `on_wait` receives the holder, once. Raises ClaimHeld after two minutes, OSError on a full disk unless
    `without_room`.
    """
    deadline_s = time.monotonic() + CLAIM_PATIENCE_S
    is_waiting = False
    while True:
        try:
            owner = " ".join(["detour", *sys.argv[1:2]])
            claimed = claim(workspace, SUBMISSION_CLAIM, owner, without_room=without_room)
            break
        except ClaimHeld as error:
            if time.monotonic() > deadline_s:
                raise
            if not is_waiting:
                on_wait(str(error.holder))
                is_waiting = True
            time.sleep(0.2)
    with claimed:
        establish(workspace.root)
        yield claimed


def submitter(
    workspace: Workspace,
    journal: Journal,
    slurm: Slurm,
    style: ScriptStyle,
    limits: Mapping[str | None, int] | None = None,
    kept_free: Collection[str | None] = (),
    publish: Callable[[Iterable[Sent]], None] = lambda sent: None,  # noqa: ARG005
) -> Submitter:
    ledger = WorkspaceLedger(workspace, journal)
    return Submitter(
        slurm=slurm,
        ledger=ledger,
        workspace=workspace_id(workspace.root),
        users=ledger.users(),
        write_script=script_writer(workspace, style),
        limits=limits or {},
        kept_free=kept_free,
        is_done=workspace.is_done,
        publish=publish,
    )


def script_style(workspace: Workspace, cluster: Cluster, code: Path | None) -> ScriptStyle:
    cuda = cluster.gpu is not None and not cluster.gpu.simulated
    environment = {
        "DETOUR_CLUSTER": cluster.name,
        EXPECTED: json.dumps(expected_environment(cuda=cuda)),
        **(OFFLINE if cluster.offline else {}),
        **cluster.environment,
    }
    if code is not None:
        environment["PYTHONPATH"] = python_path(code)
    return ScriptStyle(
        workspace=workspace.root,
        python=sys.executable,
        preamble=tuple(cluster.preamble),
        environment=environment,
        login_shell=cluster.login_shell,
        export_srun_cpus_per_task=cluster.export_srun_cpus_per_task,
        requeue=cluster.requeue,
        grace_s=cluster.grace,
    )


def submission_folder(workspace: Workspace, unit: str) -> Path:
    """Scripts and logs of one unit's jobs."""
    return workspace.root / "submissions" / unit


def script_file(workspace: Workspace, tag: Tag) -> Path:
    """A job's batch script. By its name the job is found where the site rewrites tags (`JobRecord.script`)."""
    return submission_folder(workspace, tag.unit) / f"{tag.segment}-{tag.submission}.sh"


def tasks_sent(workspace: Workspace, tag: Tag) -> Tasks | None:
    """The tasks of a job by its script; None if there is none, or it is another unit's."""
    try:
        tasks = tasks_in(script_file(workspace, tag).read_text())
    except (OSError, ValueError):
        return None
    return tasks if tasks and unit_of([stage for task in tasks for stage in task]) == tag.unit else None


def script_writer(workspace: Workspace, style: ScriptStyle) -> ScriptWriter:
    def write(request: JobRequest, tag: Tag, dependency: Dependency | None, *, gated: bool = False) -> Path:
        path = script_file(workspace, tag)
        make_folder(workspace.root, path.parent)
        gate = gate_of(path) if gated else None
        write_atomic(path, submission_script(request, tag, dependency, style, path.parent, gate))
        return path

    return write


def submit_limits(cluster: Cluster) -> dict[str | None, int]:
    """QOS -> the number of a user's jobs that it takes at once, where the profile gives one."""
    return {qos.name: qos.submitted_jobs for qos in cluster.qos if qos.submitted_jobs}


def control(workspace: Workspace, journal: Journal, slurm: Slurm) -> Control:
    """Orders need no record on disk first: a job they stopped is treated like one stopped with Slurm's own commands."""
    ledger = WorkspaceLedger(workspace, journal, may_wait=True)
    users = ledger.users()
    return Control(slurm, ledger, workspace_id(workspace.root), users, workspace.is_done, ledger.since_s())
