"""What a submitter knows to have been sent: the ledger, folded, and what was added since it began."""

from __future__ import annotations

from dataclasses import dataclass, field

from detour.ledger.events import JobEvent, JobIntended
from detour.scheduler.sent import Sent, SubmissionLedger, fold, learn
from detour.scheduler.tags import Tag, find_tag


@dataclass(slots=True)
class Knowledge:
    """Of one submission, which `record`s all that it does before it counts on it."""

    ledger: SubmissionLedger
    workspace: str
    """As `ledger.identity.workspace_id`."""
    sent: dict[Tag, Sent] = field(default_factory=dict)
    expected: set[Tag] = field(default_factory=set)
    """What was known at first, and is ours since: what another submitter intends meanwhile may be on its way."""
    _events: int = 0
    """How many of the ledger's are in `sent`."""

    def begin(self) -> None:
        self.refresh()
        self.expected = set(self.sent)

    def refresh(self) -> None:
        """Take in what others have written: should a claim fail, they submit at the same time."""
        written = list(self.ledger.events())
        if len(written) != self._events:
            self.sent, self._events = fold(written, self.workspace), len(written)

    def record(self, event: JobEvent) -> None:
        """To the ledger first; then it is known."""
        self.ledger.append(event)
        self._events += 1
        if isinstance(event, JobIntended):
            self.expected.update(tag for text in event.tags if (tag := find_tag(text)))
        learn(self.sent, event, self.workspace)

    def is_rivalled(self, tag: Tag) -> bool:
        """Whether another submitter has meanwhile decided to send the same stages."""
        stages = set(self.sent[tag].stages)
        self.refresh()
        others = [sent for other, sent in self.sent.items() if other not in self.expected and not sent.dropped]
        return any(stages.intersection(sent.stages) for sent in others)
