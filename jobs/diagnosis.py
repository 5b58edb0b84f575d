"""Verdicts on attempts, by the rules of `detour why`: on one that failed, and on a previous one that was killed.

They are recorded in the ledger, where status and report find the cause, submissions the nodes to avoid, and the harness
whether another attempt can help.
"""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

from detour.diagnosis.evidence import Evidence, SlurmRow
from detour.diagnosis.judge import judge
from detour.diagnosis.policy import nodes_to_avoid
from detour.diagnosis.verdict import Verdict
from detour.ledger.events import AttemptDiagnosed, AttemptEnded
from detour.ledger.executor_ids import job_in
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.orchestration.log_files import log_lines


def verdict_on_failure(workspace: Workspace, stage_id: str, executor: str | None, error: BaseException) -> Verdict:
    """Judge from this rank's exception and the logs of the other ranks, one of which may have failed first."""
    job = job_in(executor)
    others = log_lines(workspace, stage_id, job, ranks_only=True) if job else []
    own = "".join(traceback.format_exception(error)).splitlines()
    return judge(Evidence(sacct=_this_job(job), log=(*others, *own), events=()))


def learn_of_killed(workspace: Workspace, stage_id: str, number: int, journal: Journal) -> Verdict | None:
    """Record why the attempt before `number` has no end; None if it has one, or there was none."""
    before = number - 1
    facts = _facts(workspace.stage(stage_id) / "attempts" / f"{before:04d}.json")
    if facts is None or _has_ended(workspace, stage_id, before):
        return None
    executor = str(facts["job"]) if facts.get("job") else None
    job = job_in(executor)
    log = log_lines(workspace, stage_id, job)
    row = SlurmRow({"JobID": job or "", "NodeList": str(facts.get("slurm_nodes") or "")})
    verdict = judge(Evidence(sacct=(row,), log=tuple(log), events=()))
    journal.append(diagnosis_event(verdict), stage=stage_id, job=executor, attempt=before)
    return verdict


def diagnosis_event(verdict: Verdict) -> AttemptDiagnosed:
    first = verdict.first
    return AttemptDiagnosed(
        cause=first.cause,
        evidence=first.quote,
        retry=first.retry,
        advice=first.advice,
        nodes=list(nodes_to_avoid(verdict)),
    )


def slurm_facts() -> dict[str, str | None]:
    """Facts about its job in an attempt's file, to find its nodes after it was killed."""
    return {"slurm_nodes": os.environ.get("SLURM_JOB_NODELIST")}


def _this_job(job: str | None) -> tuple[SlurmRow, ...]:
    return (SlurmRow({"JobID": job, "NodeList": os.environ.get("SLURM_JOB_NODELIST", "")}),) if job else ()


def _facts(path: Path) -> dict[str, object] | None:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _has_ended(workspace: Workspace, stage_id: str, number: int) -> bool:
    """Whether its own journal has an end; assumed if the journal cannot be read or was compacted."""
    journals = list(workspace.ledger.glob(f"*/{stage_id}.{number:04d}.*.jsonl"))
    ended = f'"kind":"{AttemptEnded.kind}"'.encode()
    try:
        return not journals or any(ended in path.read_bytes() for path in journals)
    except OSError:
        return True
