"""The result of a diagnosis: ranked causes, each with its evidence quoted, what to do, and whether to retry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detour.diagnosis.findings import Place
from detour.diagnosis.rules import Retry, causes
from detour.text import printable, without_sequences

SCHEMA = 1
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cause named by the evidence, first or not."""

    cause: str
    confidence: Confidence
    evidence: tuple[Place, ...]
    """Best evidence first."""
    retry: Retry
    advice: str
    rule: str | None = None
    explained_by: str | None = None
    """The cause of which it is a consequence, or why it does not count."""
    exclude: bool = False
    """Whether the next submission should avoid the nodes."""

    @property
    def title(self) -> str:
        return causes()[self.cause].title

    @property
    def quote(self) -> str:
        """The first evidence, without control characters; empty if there is none."""
        return one_line(self.evidence[0].text) if self.evidence else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    first: Candidate
    others: tuple[Candidate, ...] = ()
    """Further causes, then consequences."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    """Where the job last ran, as Slurm lists the nodes."""

    @property
    def cause(self) -> str:
        return self.first.cause

    @property
    def retries_by_itself(self) -> bool:
        """Whether the same job may be sent again without a person: a retry helps, and the job is not at fault."""
        return self.first.retry == "yes" and (causes()[self.cause].automatic or self.first.exclude)

    @property
    def line(self) -> str:
        """In one line, as `out of GPU memory: torch.OutOfMemoryError: ...`."""
        return f"{self.first.title}: {self.first.quote}" if self.first.quote else self.first.title

    def to_json(self) -> dict[str, Any]:
        """See docs/why.md."""
        return {
            "schema": SCHEMA,
            **_json(self.first),
            "others": [_json(other) for other in self.others],
            "unreadable": dict(self.unreadable),
            "nodes": list(self.nodes),
        }


def one_line(text: str) -> str:
    """Without control characters, but otherwise unchanged, so that a quotation can be found in the log."""
    return printable(without_sequences(text.rstrip("\r\n"))).replace("\n", " ")


def _json(candidate: Candidate) -> dict[str, Any]:
    return {
        "cause": candidate.cause,
        "title": candidate.title,
        "confidence": candidate.confidence,
        "evidence": candidate.quote,
        "places": [
            {"source": place.source, "line": place.line, "text": one_line(place.text)} for place in candidate.evidence
        ],
        "retry_helps": {"yes": True, "no": False, "after-change": False, "unknown": "unknown"}[candidate.retry],
        "retry": candidate.retry,
        "advice": candidate.advice,
        "rule": candidate.rule,
        "explained_by": candidate.explained_by,
    }
