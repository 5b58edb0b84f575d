"""Every good record of the ledger, however damaged its files are, and a count of the damage.

Damaged bytes cost only themselves (`lines`). Records that this version does not understand are counted by what makes
them foreign (`record.entry_of`). Reading again reads only what was added (`tail`).
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from detour.ledger.events import Event, Foreign, JournalClosed
from detour.ledger.lines import decode, parse
from detour.ledger.record import Entry, entry_of, once
from detour.ledger.tail import Tail
from detour.ledger.workspace import Workspace

LISTINGS = 5
PIECE_BYTES = 1 << 20
"""Bytes read from a file at a time. The memory is reused for the next piece and stays in the processor's cache."""
IDLE_S = 300.0
"""Seconds after which an unwritten journal's writer is not alive: a live one writes every 30 s."""
FOREIGN_REASONS = 8
"""Reasons distinguished per file and named in a warning; bounded, since others write them."""
MALFORMED = Foreign(reason="without the form of a record")


class Selection(NamedTuple):
    """Which events to keep besides the folded state."""

    kinds: tuple[type[Event], ...]
    stages: Collection[str]

    def among(self, entries: Iterable[Entry[Event]]) -> Iterator[Entry[Any]]:
        return (entry for entry in entries if isinstance(entry.event, self.kinds) and entry.stage in self.stages)


class Damage(NamedTuple):
    """What could not be read. The fold counts records missing between good ones, since it knows the sequences."""

    bad_lines: int
    nul_bytes: int
    torn_tails: int
    """Files whose last line has no end: being written, or cut by a kill."""
    unreadable: list[str]
    """Files that this user may not read, or that cannot be read now."""
    foreign: Mapping[str, int]
    """What makes it foreign -> number of records with a good checksum that this version does not understand."""

    @property
    def foreign_in_words(self) -> str | None:
        """One sentence for people; None if there are none."""
        if not self.foreign:
            return None
        named = [f"{count} {what}" for what, count in list(self.foreign.items())[:FOREIGN_REASONS]]
        if left := sum(list(self.foreign.values())[FOREIGN_REASONS:]):
            named.append(f"{left} others")
        total = sum(self.foreign.values())
        events = "1 event in the ledger was" if total == 1 else f"{total} events in the ledger were"
        return f"{events} left out ({', '.join(named)}): a newer version of detour may be able to read them"


class LedgerReader:
    """Reads the whole ledger once, then what is new. Files may grow, shrink, vanish into a segment or reappear."""

    def __init__(
        self, workspace: Workspace, only: tuple[type[Event], ...] = (), stages: Collection[str] | None = None
    ) -> None:
        """With `only`, most records of other kinds are not decoded; the few that are, are yielded too.

        With `stages`, records of other stages are left out, nearly all of them without being decoded.
        """
        self._workspace = workspace
        self._stages = stages
        self._names = None if stages is None else {stage.encode() for stage in stages}
        self._only = _any_of(kind.kind for kind in only) if only else None
        self._tails: dict[str, Tail] = {}
        self._rested: set[str] = set()
        """Files that `restore` has just found unchanged."""
        self._unreadable: list[str] = []
        self.has_lost = False
        """Whether a file no longer begins with what was read: some entries that were yielded do not count."""

    def read_new(self, *, lately: bool = False) -> Iterator[list[Entry[Event]]]:
        """The entries added since the last call, file by file; some may come twice (see `State`).

        `lately` skips files that were closed or not written for `IDLE_S`: a live writer would have written. Consume it
        to the end: what it has yielded is not yielded again.
        """
        since_ns = (time.time() - IDLE_S) * 1e9
        rested, self._rested = self._rested, set()
        for _ in range(LISTINGS):
            present = journal_paths(self._workspace)
            for path in self._tails.keys() - set(present):
                del self._tails[path]
            self._unreadable = []
            complete = True
            for path in present:
                tail = self._tails.get(path)
                if tail is not None and (
                    path in rested or (lately and (tail.is_closed or tail.modified_ns < since_ns))
                ):
                    continue
                try:
                    if tail is not None and tail.is_at_rest(os.stat(path, follow_symlinks=False)):  # noqa: PTH116
                        continue
                    entries = self._read_file(path)
                except FileNotFoundError:  # compacted after it was listed: list again to find the segment
                    complete = False
                except OSError as error:
                    self._unreadable.append(f"{path}: {error.strerror}")
                else:
                    if entries:
                        yield entries
            if complete:
                break

    def positions(self) -> dict[str, list[Any]]:
        """The position in each file that could be read, for `restore`; other files are tried again."""
        return {path: [getattr(tail, name) for name in Tail.__slots__] for path, tail in self._tails.items()}

    def restore(self, positions: Mapping[str, Sequence[Any]]) -> bool:
        """Continue from these positions. Returns False, and starts from the beginning, if a file has been replaced."""
        tails = {path: Tail(*position) for path, position in positions.items()}
        rested = set()
        try:
            for path, tail in tails.items():
                status = os.stat(path, follow_symlinks=False)  # noqa: PTH116
                if tail.is_at_rest(status):
                    rested.add(path)
                    continue
                with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                    if not tail.fits(file, status):
                        return False
        except OSError:
            return False
        self._tails, self._rested = tails, rested
        return True

    @property
    def damage(self) -> Damage:
        tails = self._tails.values()
        foreign: Counter[str] = Counter()
        for tail in tails:
            if tail.foreign:
                foreign.update(tail.foreign)
        return Damage(
            bad_lines=sum(tail.bad_lines for tail in tails),
            nul_bytes=sum(tail.nul_bytes for tail in tails),
            torn_tails=sum(tail.offset < tail.size for tail in tails),
            unreadable=list(self._unreadable),
            foreign=dict(foreign.most_common()),
        )

    def _read_file(self, path: str) -> list[Entry[Event]]:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            tail = self._tails.get(path)
            is_same = tail is not None and tail.fits(file, status)
            self.has_lost |= tail is not None and not is_same
            if tail is None or not is_same or not tail.is_sound:
                tail = self._tails[path] = Tail(status.st_dev, status.st_ino)
            if tail.offset == status.st_size:
                tail.seen(status, tail.offset)
                return []
            entries, at_once = list[Entry[Event]](), PIECE_BYTES
            while True:
                file.seek(tail.offset)
                content = file.read(at_once) or b""
                parsed = parse(content)
                tail.advance(content, parsed, status)
                entries += self._wanted(parsed.payloads, tail)
                if not content or tail.size >= status.st_size:
                    break
                at_once *= 1 if parsed.used else 2
        if entries:
            tail.is_closed = type(entries[-1].event) is JournalClosed
        return entries

    def _wanted(self, payloads: list[bytes], tail: Tail) -> list[Entry[Event]]:
        if self._only:
            payloads = list(filter(self._only.search, payloads))
        if self._names is not None:
            named = _stage_names()
            payloads = [one for one in payloads if not self._names.isdisjoint(named(one))]
        values = decode(payloads) if payloads else []
        if self._stages is not None:
            values = [value for value in values if type(value) is dict and value.get("stage") in self._stages]
        return _entries(values, tail.foreign)


def _entries(values: list[object], foreign: dict[str, int]) -> list[Entry[Event]]:
    """The entries among the values; `foreign` counts what cannot be folded."""
    entries = []
    for value in values:
        entry = entry_of(value)
        if entry is not None:
            entries.append(entry)
        event = entry.event if entry is not None else MALFORMED
        if isinstance(event, Foreign):
            is_named = event.reason in foreign or len(foreign) < FOREIGN_REASONS
            reason = event.reason if is_named else "for further reasons"
            foreign[reason] = foreign.get(reason, 0) + 1
    return entries


def _any_of(kinds: Iterable[str]) -> re.Pattern[bytes]:
    """Matches records of these kinds, and hardly ever others."""
    return re.compile(f'"kind":"(?:{"|".join(map(re.escape, kinds))})"'.encode())


@cache
def _stage_names() -> Callable[[bytes], list[bytes]]:
    """Finds the stage that a record is about, and sometimes other texts."""
    return re.compile(rb'"stage":"([^"]*)"').findall


def journal_paths(workspace: Workspace) -> list[str]:
    """All journals and segments, in order of months; not reserves and unfinished segments, which begin with a dot."""
    paths = []
    for month in _listed(workspace.ledger):
        folder = workspace.ledger / month
        if folder.is_dir():
            paths += [f"{folder}/{name}" for name in _listed(folder) if name.endswith(".jsonl")]
    return paths


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208  names, fast
    except FileNotFoundError:
        return []


def history(
    workspace: Workspace, kinds: tuple[type[Event], ...], stages: Collection[str] | None = None
) -> list[Entry[Any]]:
    """All events of some kinds, of all or only these stages, each once, in each writer's order. For curves."""
    batches = LedgerReader(workspace, kinds, stages).read_new()
    return once(entry for batch in batches for entry in batch if isinstance(entry.event, kinds))
