"""What `detour why` does: the stages that a name means, worst first, each with its evidence and verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from detour.accounting.attempts import is_running
from detour.diagnosis.certain import still_running
from detour.diagnosis.evidence import Evidence, read_bundle, to_bundle
from detour.diagnosis.judge import judge
from detour.diagnosis.pending import Link, Waits, blocking_links, waits
from detour.diagnosis.redaction import redacted_json
from detour.diagnosis.verdict import Verdict
from detour.errors import UserError
from detour.files import read_at_most
from detour.ledger.process import users_here
from detour.ledger.stages import StageState
from detour.ledger.state import State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.full_disk import awaited_room
from detour.monitoring.jobs import PATIENCE_S
from detour.monitoring.liveness import process_is_alive
from detour.orchestration.evidence import (
    Answers,
    StageEvents,
    StageEvidence,
    ask_slurm,
    attempt_evidence,
    slurm_jobs,
    stage_events,
    stage_evidence,
)
from detour.orchestration.held import Held, held_stages
from detour.output_files import write_output
from detour.planning.files import StageOutline, no_chain, read_plan_outline
from detour.planning.selection import Selection, known_chains, select, selected_stages
from detour.scheduler.commands import Slurm
from detour.scheduler.records import parse_time_s

if TYPE_CHECKING:
    from detour.orchestration.remedy import Remedies

LARGEST_BUNDLE_BYTES = 64 * 2**20
WORST_SHOWN = 3
LOOKED_AT = 6
"""Upper bound on stages that are diagnosed."""
CUT_OFF = "cut off"
"""In place of `running`, for an attempt without a sign of life or an end, as after a crash."""
_WORST = ("failed", CUT_OFF, "interrupted", "cancelled", "running", "submitted", "planned", "done")
"""Statuses of a chain's stages, in the order in which they are diagnosed."""
TOGETHER = ("failed", CUT_OFF)
"""Statuses diagnosed together, since only Slurm knows whether what is cut off has failed."""
HELD_UP = (CUT_OFF, "interrupted", "running", "submitted")
"""Statuses of the worst stages after which the others would start, if they were not held."""
CURABLE = ("waiting", "limit", "request_impossible")
"""Causes for which a different request may start earlier."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is known about a pending job."""

    waits: Waits
    starts_s: float | None
    """When Slurm expects it to start, in seconds since the epoch."""
    links: tuple[Link, ...]
    """The links from it to the job that blocks it."""
    remedies: Remedies | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """An attempt without a result, which a pending job will repeat."""

    attempt: int
    job: str | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Why:
    """The verdict on one stage."""

    stage: StageOutline | None
    """None for a bundle."""
    chains: tuple[str, ...]
    """The chains that need it, first those that were asked about."""
    found: StageEvidence
    verdict: Verdict
    pending: Pending | None = None
    earlier: Earlier | None = None
    """The last attempt, if its job has ended and another is pending."""
    room: str | None = None
    """What a running stage waits for on a full disk, and what to do; None if its journal is not silent."""
    held: Held | None = None
    """Of the last verdict: other stages that are held and will not start."""
    left_out: int = 0
    """Of the last verdict: how many other stages in the same state were not judged."""


def why_of_bundle(path: Path) -> Why:
    """The verdict on a bundle; `-` is standard input. Raises UserError for a file that is not a bundle."""
    hint = "give a file that `detour why STAGE --bundle FILE` wrote"
    source = Path("/dev/stdin") if str(path) == "-" else path
    try:
        content = json.loads(read_at_most(source, LARGEST_BUNDLE_BYTES).decode("utf-8-sig", errors="replace"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {hint}") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); {hint}") from error
    evidence = read_bundle(content, str(path))
    return Why(None, (), StageEvidence("", evidence.job, evidence), judge(evidence))


def why(workspace: Workspace, name: str | None, slurm: Slurm | None = None) -> list[Why]:
    """The verdict on a stage, or on the worst stages of a chain, of a sweep's chains or, without a name, of all chains.

    Raises UserError if nothing has that name, or there is no chain at all.
    """
    view = LedgerView(workspace)
    known = known_chains(workspace)
    if name is None and not known.chains:
        raise no_chain(workspace, known.unreadable)
    selected = Selection(tuple(known.chains)) if name is None else select(workspace, [name], known)
    meant = {*selected.chains, *selected.within}
    needed_by = {
        stage_id: sorted(chains, key=lambda chain: chain not in meant) for stage_id, chains in known.needed_by().items()
    }
    planned = {stage_id: target.slurm_cluster for stage_id, target in known.targets(meant).by_stage.items()}
    stages = selected_stages(workspace, known, selected).values()
    if not stages:
        raise UserError(f"{name or workspace.root}: its plan has no stages")
    words = {stage.id: _word(workspace, stage, view.state) for stage in stages}
    worst = min(words.values(), key=_WORST.index)
    meant_words = TOGETHER if worst in TOGETHER else (worst,)
    alike = [stage for word in meant_words for stage in stages if words[stage.id] == word]
    asked = alike[:LOOKED_AT]
    facts = _facts(workspace, asked, needed_by, planned, view.state, slurm)
    found: dict[tuple[str | None, ...], Why] = {}
    for stage in asked:
        alike.remove(stage)
        one = facts.judged(stage)
        found.setdefault((facts.clusters[stage.id], *_decisive_job(one)), one)
        if worst in ("planned", "done") or len(found) == WORST_SHOWN:
            break
    *others, last = found.values()
    if worst in (*TOGETHER, "interrupted") or (worst == "running" and last.verdict.cause != "normal"):
        last = replace(last, left_out=len(alike))
    if worst in HELD_UP and last.verdict.cause != "held":
        shown = {one.stage.id for one in found.values() if one.stage}
        waiting = [stage.id for stage in stages if words[stage.id] in ("submitted", "interrupted")]
        last = replace(last, held=facts.held(set(waiting) - shown, name if selected.chains else None))
    return [*others, last]


def _facts(
    workspace: Workspace,
    asked: Sequence[StageOutline],
    needed_by: Mapping[str, Sequence[str]],
    planned: Mapping[str, str | None],
    state: State,
    slurm: Slurm | None,
) -> _Facts:
    clusters, jobs = dict[str, str | None](), dict[str, list[str]]()
    for stage in (stage.id for stage in asked):
        known, of_chain = _current(workspace, state, stage), planned[stage]
        clusters[stage] = known.last_slurm_cluster(of_chain)
        jobs[stage] = [job for job in slurm_jobs(known) if known.slurm_cluster(job, of_chain) == clusters[stage]]
    client = slurm or Slurm(timeout_s=PATIENCE_S)
    slurms = {cluster: client.on(cluster) for cluster in clusters.values()}
    events = stage_events(workspace, list(clusters))
    users, answers = users_here(state.users), dict[str | None, Answers]()
    for cluster, clients in slurms.items():
        ids = [job for stage in clusters if clusters[stage] == cluster for job in jobs[stage]]
        answers[cluster] = ask_slurm(clients, users, ids, events.since_s) if ids else Answers()
    return _Facts(workspace, state, needed_by, planned, events, clusters, jobs, slurms, answers)


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts about several stages, from one pass over the ledger and one squeue and one sacct per cluster."""

    workspace: Workspace
    state: State
    needed_by: Mapping[str, Sequence[str]]
    planned: Mapping[str, str | None]
    """Stage -> the Slurm cluster for which its first chain is planned."""
    events: StageEvents
    clusters: Mapping[str, str | None]
    """Stage -> the Slurm cluster that has its last job."""
    jobs: Mapping[str, Sequence[str]]
    """Stage -> its jobs there."""
    slurms: Mapping[str | None, Slurm]
    answers: Mapping[str | None, Answers]

    def held(self, stages: Collection[str], name: str | None) -> Held | None:
        queues = {cluster: answers.queue for cluster, answers in self.answers.items()}
        return held_stages(self.workspace, self.state, stages, self.needed_by, self.planned, queues, name)

    def judged(self, stage: StageOutline) -> Why:
        cluster, chains = self.clusters[stage.id], tuple(self.needed_by[stage.id])
        known = _current(self.workspace, self.state, stage.id)
        found = stage_evidence(self.workspace, stage.id, known, self.jobs[stage.id], self.events, self.answers[cluster])
        alive = found.job is None and _is_alive(known, self.state)
        verdict = still_running(found.evidence) if alive else judge(found.evidence)
        pending = _pending(self.workspace, chains[0], found, verdict, self.slurms[cluster])
        earlier = self._earlier(known, found) if pending else None
        return Why(stage, chains, found, verdict, pending, earlier, awaited_room(self.workspace, known, time.time()))

    def _earlier(self, known: StageState, found: StageEvidence) -> Earlier | None:
        last = known.last_attempt
        if last is None or last.job in (None, found.job):
            return None
        answers = self.answers[self.clusters[found.stage]]
        verdict = judge(attempt_evidence(self.workspace, found.stage, last, self.events, answers))
        return None if verdict.cause == "normal" else Earlier(last.number, last.job, verdict)


def _decisive_job(one: Why) -> tuple[str | None, ...]:
    """By which stages are grouped: of those that wait for one job or array, or ran in a job, only the first is shown.

    Tasks of an array may wait for different reasons.
    """
    if one.pending:
        return one.pending.links[-1].job.partition("_")[0], one.verdict.cause
    return (one.found.job or one.found.stage,)


def write_bundle(path: Path, evidence: Evidence) -> None:
    """Write a bundle without what looks like a secret. Raises UserError if it cannot be written."""
    write_output(path, json.dumps(redacted_json(to_bundle(evidence)), indent=1, ensure_ascii=False), "--bundle")


def _pending(workspace: Workspace, chain: str, found: StageEvidence, verdict: Verdict, slurm: Slurm) -> Pending | None:
    row = found.evidence.squeue
    if row is None or not row.get("State").startswith(("PENDING", "REQUEUE", "SPECIAL")):
        return None
    account = found.evidence.last_run
    links = blocking_links(row, found.queue)
    is_curable = verdict.cause in CURABLE and len(links) == 1 and row.id in found.scripts
    remedies = _remedies(workspace, chain, found.scripts[row.id], slurm) if is_curable else None
    return Pending(
        waits(
            parse_time_s(row.get("SubmitTime")),
            parse_time_s(account.get("Eligible")) if account else None,
            time.time(),
        ),
        parse_time_s(row.get("StartTime")),
        links,
        remedies,
    )


def _remedies(workspace: Workspace, chain: str, script: Path, slurm: Slurm) -> Remedies | None:
    """None if the chain's profile can no longer be read: what else could be requested is then unknown."""
    from detour.orchestration.remedy import try_remedies  # imports the whole of the profiles, which no bundle needs
    from detour.orchestration.retry import cluster_of

    target = read_plan_outline(workspace, chain).target
    try:
        cluster = cluster_of(workspace, chain, target)
    except UserError:
        return None
    return try_remedies(slurm, script, cluster)


def _current(workspace: Workspace, state: State, stage_id: str) -> StageState:
    """What the ledger knows of the stage, without what came before the removal of its output."""
    known = state.stage(stage_id)
    return known if workspace.is_done(stage_id) else known.since_done()


def _word(workspace: Workspace, stage: StageOutline, state: State) -> str:
    if workspace.is_done(stage.id):
        return "done"
    if workspace.has_failed(stage.id):
        return "failed"
    known = _current(workspace, state, stage.id)
    status = known.status
    if status == "running" and not _is_alive(known, state):
        return CUT_OFF
    return status if status in _WORST and status != "done" else "planned"


def _is_alive(known: StageState, state: State) -> bool:
    """Whether the last attempt runs, by its process if that is on this machine, otherwise by its signs of life."""
    last = known.last_attempt
    if last is None or last.ended is not None:
        return False
    alive = process_is_alive(last, state.writers)
    return is_running(last, time.time()) if alive is None else alive
