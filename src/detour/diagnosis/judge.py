"""From evidence to a verdict. Pure.

First what needs no ranking: a job in the queue, a finished stage, a segment that saved before its limit. Otherwise the
findings are grouped by cause. Findings do not count if another cause explains them, if they came after the job was
asked to stop, if the work continued after them, or if they are about a step that is not of the work; the earliest of
the rest is the first cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from detour.diagnosis.certain import settled
from detour.diagnosis.evidence import Evidence
from detour.diagnosis.findings import AFTER_END, OUTLIVED, Finding, find
from detour.diagnosis.rules import causes
from detour.diagnosis.steps import of_another_step
from detour.diagnosis.verdict import Candidate, Confidence, Verdict
from detour.diagnosis.wording import advice_of, retry_of, unknown
from detour.grouping import grouped

ENDINGS = ("time_limit", "cancelled")
"""Causes that end a job from outside: whatever had stopped the work before takes precedence."""
DECISIVE = ("node_failure", "preempted")
"""If Slurm's accounts report these, they take precedence over the end of the log."""
OF_STORAGE = ("disk_quota", "inode_quota", "disk_full", "filesystem", "permission")
"""Causes for which the save requested by a warning signal can fail."""
BY_SLURM_FIRST = ("node_failure", "cancelled")
"""Causes for which sacct says more than the log."""
PLACES_SHOWN = 3


def judge(evidence: Evidence) -> Verdict:
    verdict = settled(evidence) or _ranked(evidence)
    nodes = evidence.last_run.get("NodeList") if evidence.last_run else ""
    known = () if nodes in ("", "None assigned") else (nodes,)
    return replace(verdict, unreadable=evidence.unreadable, nodes=known)


def _ranked(evidence: Evidence) -> Verdict:
    findings = [_weighed(finding, evidence) for finding in _asked_to_stop(_of_last_run(find(evidence), evidence))]
    groups, places = _by_cause(findings), _in_time(findings)
    counted = {cause: group for cause, group in groups.items() if _strength(group) > 1}
    reasons = {cause: _explained_by(cause, counted) for cause in counted}
    ranks = {cause: _place_in_order(cause, group, places) for cause, group in counted.items()}
    order = sorted(counted, key=lambda cause: (reasons[cause] is not None, ranks[cause]))
    candidates = [_candidate(cause, counted[cause], reasons[cause], evidence) for cause in order]
    weak = [
        _candidate(cause, group, _why_weak(group), evidence) for cause, group in groups.items() if cause not in counted
    ]
    if not candidates or (all(map(_is_echo, counted.values())) and _died_silently(findings)):
        echoes = [replace(one, explained_by="a rank was killed silently", confidence="low") for one in candidates]
        return Verdict(unknown(evidence), (*echoes, *weak))
    return Verdict(candidates[0], (*candidates[1:], *weak))


def _died_silently(findings: Sequence[Finding]) -> bool:
    """Whether a rank was killed silently before the step was ended: the others report only that it is gone."""
    return any(finding.rule.silent and finding.doubt != AFTER_END for finding in findings)


def _of_last_run(findings: Sequence[Finding], evidence: Evidence) -> list[Finding]:
    """Doubt findings of earlier runs: a requeued job appends to the same log, so they are before its preemption."""
    state = evidence.last_run.state if evidence.last_run else ""
    again = len(evidence.job_rows) > 1 or any((event.attempt or 1) > 1 for event in evidence.events or ())
    if not again or state not in ("FAILED", "COMPLETED", "OUT_OF_MEMORY", "TIMEOUT", "CANCELLED"):
        return list(findings)
    last = max((one.place.line or 0 for one in findings if one.cause in DECISIVE), default=0)
    return [
        replace(one, doubt="of an earlier run of the job")
        if one.place.line is not None and one.place.line <= last
        else one
        for one in findings
    ]


def _asked_to_stop(findings: Sequence[Finding]) -> Iterable[Finding]:
    """Doubt findings after the order to stop, which caused them; a save that fails after a warning still counts."""
    ordered = {finding.cause for finding in findings if finding.place.source == "job"} & {*ENDINGS, *DECISIVE}
    findings = _heard(findings, ordered)
    said = [
        finding.place
        for finding in findings
        if finding.place.line is not None and (finding.cause in ordered or _is_stop(finding, ordered))
    ]
    first = min((place.line or 0 for place in said), default=None)
    final = min((place.line or 0 for place in said if "SIGUSR" not in place.text), default=None)
    return (
        replace(finding, doubt="logged after the job was asked to stop")
        if finding.doubt is None
        and finding.cause not in ordered
        and _is_behind(finding, final if finding.cause in OF_STORAGE else first)
        else finding
        for finding in findings
    )


def _is_behind(finding: Finding, line: int | None) -> bool:
    return line is not None and (finding.place.line or 0) > line


def _heard(findings: Sequence[Finding], ordered: set[str | None]) -> Sequence[Finding]:
    """Count the order to stop even if the work continued for a step or two, since it is the job's end all the same.

    A later order takes precedence, since a log may also contain an earlier run's.
    """
    sure = {one.cause for one in findings if one.place.line is not None and one.doubt is None}
    heard = ordered - sure
    return [replace(one, doubt=None) if one.cause in heard and one.doubt == OUTLIVED else one for one in findings]


def _is_stop(finding: Finding, ordered: set[str | None]) -> bool:
    stops = ("SIGTERM", "CANCELLED AT", "signal: 15", "Job step aborted", "SIGUSR", "SIGINT")
    return bool(ordered) and finding.cause is None and any(word in finding.place.text for word in stops)


def _weighed(finding: Finding, evidence: Evidence) -> Finding:
    if finding.doubt is None and finding.rule.of_step and of_another_step(finding.place.text, evidence):
        return replace(finding, doubt="of another step than the one that failed")
    return finding


def _by_cause(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    return grouped((finding.cause, finding) for finding in findings if finding.cause is not None)


def _strength(group: Sequence[Finding]) -> int:
    return max(finding.strength for finding in group)


def _standing(group: Sequence[Finding]) -> int:
    """1 names a cause by itself, 2 is only complaints, 3 only echoes: none explains one with a lower number."""
    counted = [finding.rule for finding in group if finding.strength > 1]
    if all(rule.echo for rule in counted):
        return 3
    return 2 if all(rule.complaint for rule in counted) else 1


def _is_echo(group: Sequence[Finding]) -> bool:
    return _standing(group) == 3


def _explained_by(cause: str, groups: dict[str, list[Finding]]) -> str | None:
    """The cause of which this one is a consequence."""
    known = causes()
    for other, group in groups.items():
        if other == cause or _standing(group) > _standing(groups[cause]):
            continue
        if cause in known[other].explains:
            return other
        if _is_echo(groups[cause]) and not _is_echo(group) and other not in ENDINGS:
            return other
    return None


def _in_time(findings: Sequence[Finding]) -> dict[int, int]:
    """Line -> its place in time: lines with a timestamp are ordered by it, others stay as written."""
    counted = (one.place for one in findings if one.strength > 1 and one.cause is not None)
    stamped = [place for place in counted if place.line is not None and place.clock_s is not None]
    by_clock = sorted(stamped, key=lambda place: (place.clock_s or 0.0, place.line or 0))
    slots = sorted(place.line or 0 for place in stamped)
    return {place.line or 0: slot for place, slot in zip(by_clock, slots, strict=True)}


def _place_in_order(cause: str, group: Sequence[Finding], places: dict[int, int]) -> tuple[int, float]:
    counts = [finding for finding in group if finding.strength > 1]
    if cause in DECISIVE and any(finding.place.source == "job" for finding in group):
        rank = 0
    elif cause in ENDINGS:
        rank = 4
    else:
        rank = _standing(group)
    counted = (one.place.line for one in counts if one.place.line is not None)
    lines = [places.get(line, line) for line in counted]
    return rank, min(lines, default=float("inf"))


def _candidate(cause: str, group: Sequence[Finding], explained_by: str | None, evidence: Evidence) -> Candidate:
    best = sorted(group, key=lambda finding: _evidence_order(cause, finding))
    first = best[0]
    return Candidate(
        cause=cause,
        confidence=_confidence(first, explained_by),
        evidence=tuple(dict.fromkeys(finding.place for finding in best))[:PLACES_SHOWN],
        retry=retry_of(first, evidence),
        advice=advice_of(first, evidence),
        rule=first.rule.id,
        explained_by=explained_by,
        exclude=causes()[cause].exclude if first.rule.exclude is None else first.rule.exclude,
    )


def _evidence_order(cause: str, finding: Finding) -> tuple[bool, int, bool, float]:
    """A line of the log takes precedence over the event that repeats it."""
    place = finding.place
    by_slurm = place.source in ("job", "step")
    preferred = by_slurm if cause in BY_SLURM_FIRST else not by_slurm
    line = float("inf") if place.line is None else place.line
    return finding.doubt is not None, -finding.strength if preferred else 0, not preferred, line


def _confidence(finding: Finding, explained_by: str | None) -> Confidence:
    if finding.strength < 2 or explained_by is not None:
        return "low"
    return "high" if finding.strength == 3 and not finding.rule.echo else "medium"


def _why_weak(group: Sequence[Finding]) -> str | None:
    return next((finding.doubt for finding in group if finding.doubt), None)
