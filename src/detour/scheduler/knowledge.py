"""What a submitter knows to have been sent: the folded ledger and what was added since it began."""

from __future__ import annotations

from dataclasses import dataclass, field

from detour.ledger.events import JobEvent, JobIntended
from detour.scheduler.sent_jobs import Sent, SubmissionLedger, fold, held_stages, learn
from detour.scheduler.tags import Tag, find_tag


@dataclass(slots=True)
class Knowledge:
    """The knowledge of one submission, which `record`s every action before relying on it."""

    ledger: SubmissionLedger
    workspace: str
    """The id from `ledger.identity.workspace_id`."""
    sent: dict[Tag, Sent] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    """Stages that a person holds."""
    expected: set[Tag] = field(default_factory=set)
    """What was known at first or is ours: a job that another submitter intends meanwhile may still be on its way."""
    _events: int = 0
    """Number of the ledger's events that are in `sent`."""

    def begin(self) -> None:
        self.refresh()
        self.expected = set(self.sent)

    def refresh(self) -> None:
        """Read what others have written: if the claim fails, they submit at the same time."""
        written = list(self.ledger.events())
        if len(written) != self._events:
            self.sent, self._events = fold(written, self.workspace), len(written)
            self.held = held_stages(written)

    def record(self, event: JobEvent) -> None:
        """Append the event to the ledger, then learn it."""
        self.ledger.append(event)
        self._events += 1
        if isinstance(event, JobIntended):
            self.expected.update(tag for text in event.tags if (tag := find_tag(text)))
        learn(self.sent, event, self.workspace)

    def has_rival(self, tag: Tag) -> bool:
        """Whether another submitter has decided meanwhile to send the same stages."""
        stages = set(self.sent[tag].stages)
        self.refresh()
        others = [sent for other, sent in self.sent.items() if other not in self.expected and not sent.dropped]
        return any(stages.intersection(sent.stages) for sent in others)
