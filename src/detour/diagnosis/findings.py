"""Which rules match which facts. A finding is one rule at one place, with any doubt about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from detour.diagnosis.evidence import Evidence, LedgerEvent, SlurmRow
from detour.diagnosis.languages import in_english
from detour.diagnosis.lines import Line, ends, read_lines
from detour.diagnosis.rules import EXCEPTION, Rule, Source, first_fitting, likely
from detour.diagnosis.steps import of_another_job
from detour.diagnosis.tracebacks import names_exception
from detour.ledger.events import AttemptEnded, CheckpointSaved, GradientSkipped, StageDone, StageFailed

LARGE = 0.85
"""Share of the requested memory from which a silent kill is attributed to it; sampling misses the peak."""
SHOWN_OF_EVENT: Mapping[str, tuple[str, ...]] = {
    CheckpointSaved.kind: ("step",),
    AttemptEnded.kind: ("outcome", "exit_code", "reason"),
    StageFailed.kind: ("reason",),
    StageDone.kind: (),
}
LOSSES = 3
AFTER_END = "logged when the step was ended"
OUTLIVED = "the work continued after it"
_WORKED_AROUND = re.compile(
    r"^(?!.*\b(?:please|consider|you|your|try|should|if)\b).*"
    r"\b(?:using|fall(?:s|ing)? back|continuing|instead|skipp(?:ed|ing)|retrying|default(?:s|ing) to|disabled)\b",
    re.IGNORECASE,
)
"""What a program says that goes on; advice to a person is part of the error's message."""
_WARNED = re.compile(r"\b[A-Z]\w+Warning\b")
_POSSIBLE = re.compile(r"\b(may|might|could|can) (potentially|fail|cause|lead|result|hang|crash)\b", re.IGNORECASE)
JUDGED_EVENTS = (AttemptEnded.kind, StageFailed.kind, GradientSkipped.kind)
"""Events whose reason is read with the rules for logs."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the evidence."""

    source: Source
    text: str
    """As quoted: a line of the log unchanged, otherwise `sacct ID Field=value` or `event KIND key=value`."""
    line: int | None = None
    clock_s: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    rule: Rule
    place: Place
    doubt: str | None = None
    """Why it does not count as a cause; None if it counts."""
    weakened: int = 0
    """By how much its strength is lowered, for a line that is only a warning."""

    @property
    def cause(self) -> str | None:
        return self.rule.cause

    @property
    def strength(self) -> int:
        return 1 if self.doubt else max(1, self.rule.strength - self.weakened)


def find(evidence: Evidence) -> list[Finding]:
    """All findings: those in the log, in its order, then those from Slurm and the ledger."""
    lines = read_lines(evidence.log or ())
    found = [*_in_log(lines), *_in_events(evidence), *_in_rows(evidence)]
    return [_doubted(finding, evidence) for finding in found]


def event_text(event: LedgerEvent) -> str:
    """For example `event checkpoint.saved step=18625`."""
    shown = SHOWN_OF_EVENT.get(event.kind, tuple(event.data))
    values = (f"{key}={event.data[key]}" for key in shown if event.data.get(key) not in (None, ""))
    return " ".join(("event", event.kind, *values))


def row_text(row: SlurmRow, field: str) -> str:
    """For example `sacct 7712034 State=NODE_FAIL`."""
    name, value = row.named(field)
    return f"sacct {row.id} {name}={value}"


def _in_log(lines: tuple[Line, ...]) -> Iterator[Finding]:
    end = next((line.number for line in lines if line.ends_step), len(lines) + 1)
    specific: set[int] = set()
    found: list[tuple[Line, Finding]] = []
    for line in lines:
        if line.is_quoted:
            continue
        rule = _rule_for(line.text, line.is_error, line.within)
        if rule is None and line.chain is None:
            continue
        if rule is None:
            rule = EXCEPTION
        elif line.chain is not None and rule.cause is not None and rule.strength > 1:
            specific.add(line.chain)
        place, doubt = Place("log", line.raw, line.number, line.clock_s), _doubt(rule, line, lines, end)
        found.append((line, Finding(rule, place, doubt, 0 if rule.echo else _weakness(line, lines))))
    for line, finding in found:
        if finding.rule is EXCEPTION and line.chain in specific:
            finding = replace(finding, doubt="raised together with an exception that says more")
        yield finding


def _doubt(rule: Rule, line: Line, lines: tuple[Line, ...], end: int) -> str | None:
    """Why the rule that matches the line does not count; `end` is the number of the line that ends the step."""
    if rule.silent and line.number > end:
        return AFTER_END
    if any(rule.fits(quoted) for quoted in line.quotations):
        return "only quoted"
    if line.is_chatter:
        return "no error"
    outlived = _recovered if rule.lasting else _outlived
    return outlived(line, lines) or _worked_around(line, lines)


@lru_cache(maxsize=4096)
def _rule_for(text: str, is_error: bool, within: str) -> Rule | None:
    """The first matching rule; cached, since logs repeat themselves."""
    return next((one for one in likely(text) if one.fits(text, is_error=is_error, within=within)), None)


def _outlived(line: Line, lines: tuple[Line, ...]) -> str | None:
    """The doubt about a line after which the work continued by two steps, since one step may still be under way.

    If no steps are named, three more losses of one rank show the same.
    """
    behind = lines[line.number :]
    before = max((one.progress for one in lines[: line.number] if one.progress is not None), default=None)
    after = [one.progress for one in behind if one.progress is not None]
    if not after:
        losses = Counter(rank for rank, _ in {(one.rank, one.text) for one in behind if one.gives_loss})
        return OUTLIVED if max(losses.values(), default=0) >= LOSSES else None
    if before is None:
        return "the work began after it" if len(set(after)) > 2 else None
    return OUTLIVED if max(after) - before >= 2 and len(set(after)) >= 2 else None


def _worked_around(line: Line, lines: tuple[Line, ...]) -> str | None:
    """The doubt about a logged exception, behind which the program says at once what it does instead."""
    behind = next((one for one in lines[line.number :] if one.rank == line.rank), None)
    if line.chain is None or behind is None or behind.is_error or not _WORKED_AROUND.search(behind.text):
        return None
    return "the program continued without it"


def _recovered(line: Line, lines: tuple[Line, ...]) -> str | None:
    return "the loss was finite again" if any(one.has_finite_loss for one in lines[line.number :]) else None


def _weakness(line: Line, lines: tuple[Line, ...]) -> int:
    """How much weaker a warning of Python's modules or of a log is; NCCL's WARN means an error."""
    before = lines[line.number - 2].text.rstrip() if line.number > 1 else ""
    head = line.text[:200]
    if _WARNED.search(head) or head.startswith(("wandb:", "warning:")):
        return 2
    if "WARNING" in head:
        return 2 if _POSSIBLE.search(head) else 1
    return 1 if before.endswith("Warning:") else 0


def _in_events(evidence: Evidence) -> Iterator[Finding]:
    for event in evidence.events or ():
        if event.kind not in JUDGED_EVENTS:
            continue
        reason = in_english(ends(str(event.data.get("reason") or "")))
        rule = next((rule for rule in likely(reason) if rule.cause and rule.fits(reason)), None)
        if rule is None and names_exception(reason):
            rule = EXCEPTION
        if rule is not None:
            yield Finding(rule, Place("event", event_text(event)))


def _in_rows(evidence: Evidence) -> Iterator[Finding]:
    for row in evidence.job_rows[-1:]:
        yield from _of_row(row, "job", ("State", "ExitCode", "Reason"))
        together = f"State={row.get('State')} Reason={row.get('Reason')}"
        ending = f"{together} Elapsed={row.get('Elapsed')}"
        if rule := first_fitting("ending", ending):
            yield Finding(rule, Place("job", f"sacct {row.id} {together}"))
    for row in evidence.step_rows:
        if row.step != "extern":
            yield from _of_row(row, "step", ("State", "ExitCode"))


def _of_row(row: SlurmRow, source: Source, fields: tuple[str, ...]) -> Iterator[Finding]:
    for field in fields:
        value = row.get(field)
        if value and (rule := first_fitting(source, f"{field}={value}")):
            yield Finding(rule, Place(source, row_text(row, field)))


def _doubted(finding: Finding, evidence: Evidence) -> Finding:
    needs = finding.rule.needs
    if of_another_job(finding.place.text, evidence):
        return replace(finding, doubt="said of another job")
    if finding.doubt is not None or needs is None:
        return finding
    share = evidence.memory_share
    if share is None:
        return finding if needs == "memory" else replace(finding, doubt="its memory was not recorded")
    if share < LARGE:
        return replace(finding, doubt=f"its memory was at {share:.0%} of what it had requested")
    return finding
