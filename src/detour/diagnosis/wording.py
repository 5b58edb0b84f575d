"""Advice and retry verdicts that depend on the job's own figures."""

from __future__ import annotations

import re

from detour.diagnosis.evidence import Evidence
from detour.diagnosis.findings import Finding
from detour.diagnosis.rules import Retry, causes
from detour.diagnosis.verdict import Candidate
from detour.ledger.events import CheckpointSaved

_BY = re.compile(r"CANCELLED by (?P<who>\S+)")
ROOT = "Root (uid 0)"
_SIGNALS = {"9": "SIGKILL", "15": "SIGTERM", "6": "SIGABRT", "2": "SIGINT", "11": "SIGSEGV", "1": "SIGHUP"}


def retry_of(finding: Finding, evidence: Evidence) -> Retry:
    cause = causes()[str(finding.cause)]
    if cause.id == "time_limit" and evidence.events is None:
        return "unknown"
    if cause.id == "time_limit" and saved_step(evidence) is not None:
        return "yes"
    if cause.id == "cancelled" and canceller(evidence) == ROOT:
        return "unknown"
    return finding.rule.retry or cause.retry


def advice_of(finding: Finding, evidence: Evidence) -> str:
    cause = causes()[str(finding.cause)]
    advice = finding.rule.advice or cause.advice
    if cause.id == "cancelled" and (who := canceller(evidence)):
        return f"{who} cancelled it. {'Ask the site why, before it is sent again.' if who == ROOT else advice}"
    if cause.id == "time_limit":
        return f"{_lost(evidence)} {advice}"
    if cause.id in ("node_failure", "gpu_fault") and (row := evidence.last_run) and (nodes := row.get("NodeList")):
        return f"{advice} Nodes: {nodes}."
    return advice


def _lost(evidence: Evidence) -> str:
    if evidence.events is None:
        return "The time ran out. Whether this attempt had saved anything is not known."
    if (step := saved_step(evidence)) is None:
        return "The time ran out before this attempt had saved anything, and the same request loses the same work."
    return f"The time ran out after the checkpoint of step {step}; the work after it is repeated."


def saved_step(evidence: Evidence) -> int | None:
    """Step of the last checkpoint, if the last attempt saved it.

    A checkpoint of an earlier attempt does not show that the next one gets further.
    """
    saved = evidence.last(CheckpointSaved.kind)
    latest = max((event.attempt or 0 for event in evidence.events or ()), default=0)
    step = saved.data.get("step") if saved and (saved.attempt or latest) == latest else None
    return step if isinstance(step, int) else None


def canceller(evidence: Evidence) -> str | None:
    for row in reversed(evidence.job_rows):
        if match := _BY.search(row.get("State")):
            return ROOT if match["who"] in ("0", "root") else f"User {match['who']}"
    return None


def unknown(evidence: Evidence) -> Candidate:
    return Candidate("unknown", "low", (), "unknown", f"{_ended(evidence)} {_what_next(evidence)}".strip())


def _ended(evidence: Evidence) -> str:
    row = evidence.last_run
    if row is None and evidence.sacct is not None:
        return "Slurm's accounts say nothing about this job."
    if row is None:
        return "sacct could not be read." if "sacct" in evidence.unreadable else "It ran without Slurm."
    code, _, signal = row.get("ExitCode").partition(":")
    if signal not in ("", "0"):
        said = f"The job ended by {_SIGNALS.get(signal, f'signal {signal}')}, and nothing says who sent it"
    elif code not in ("", "0"):
        by = _SIGNALS.get(str(int(code) - 128)) if code.isdecimal() else None
        said = f"The job ended with exit code {code}{f' ({by})' if by else ''}, and its log does not say why"
    else:
        said = f"Slurm says {row.get('State') or 'nothing'}, and there is no other evidence"
    share = evidence.memory_share
    memory = "" if share is None else f"; its memory was at {share:.0%} of what it had requested"
    return f"{said}{memory}."


def _what_next(evidence: Evidence) -> str:
    if evidence.sacct is None:
        return "Ask again when Slurm's accounts answer." if "sacct" in evidence.unreadable else "Run it again."
    return "Retry once on another node, and ask the site for the node's kernel log."
