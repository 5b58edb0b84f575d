"""One reading of the whole ledger: its folded state, and the records of commands that the fold does not keep."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from detour.ledger.reading import LedgerReader
from detour.ledger.record import Record
from detour.ledger.state import State
from detour.ledger.workspace import Workspace

FAMILIES = ("submit.", "budget.", "chain.")


@dataclass(slots=True)
class LedgerView:
    """`refresh` reads what is new."""

    workspace: Workspace
    state: State = field(default_factory=State)
    _reader: LedgerReader = field(init=False)
    _told: dict[tuple[str, int], Record] = field(default_factory=dict)
    _last_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reader = LedgerReader(self.workspace)
        self.refresh()

    def refresh(self) -> None:
        for batch in self._reader.read_new():
            self.state.add(batch)
            for record in batch:
                if _is_told(record):
                    writer, wall_s = record["writer"], record["wall_s"]
                    self._told[writer, record["sequence"]] = record
                    self._last_s[writer] = max(wall_s, self._last_s.get(writer, wall_s))

    def records(self, kinds: Collection[str]) -> list[Record]:
        """Records of these kinds, each once, in the order of their clocks."""
        found = [record for record in self._told.values() if record["kind"] in kinds]
        return sorted(found, key=lambda record: (record["wall_s"], record["writer"], record["sequence"]))

    def last_told_s(self, writer: str) -> float | None:
        """When a command's journal was last written to, as far as these records tell."""
        return self._last_s.get(writer)

    @property
    def unreadable(self) -> list[str]:
        """Journals that this user may not read."""
        return self._reader.damage.unreadable


def _is_told(record: object) -> bool:
    """Whoever may write here can make a good checksum, so its form is looked at first."""
    return (
        isinstance(record, dict)
        and isinstance(record.get("kind"), str)
        and record["kind"].startswith(FAMILIES)
        and isinstance(record.get("writer"), str)
        and isinstance(record.get("sequence"), int)
        and isinstance(record.get("wall_s"), float)
        and isinstance(record.get("data"), dict)
    )
