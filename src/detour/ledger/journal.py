"""The append-only journal of one writer, which never blocks the work it records.

<workspace>/ledger/<yyyy-mm>/<writer>.jsonl is created by its only writer, so there are no locks. Every record carries
the writer and a sequence number: a reader can tell a repeated record from a new one, and count missing ones.

A disk that is full, over quota, failing or gone never raises here: records wait in a bounded queue and are written once
the disk takes them. If the queue is full, progress is dropped; if that is not enough, the others are stored on the node
(see `spool`), and one line says so. For the end of an attempt, a reserve of 64 KiB is first returned to the file
system; if even that does not help, the records are stored on the node at once.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from detour.errors import UserError
from detour.ledger.appendfile import AppendFile
from detour.ledger.events import Durability, Event, JournalClosed, JournalOpened
from detour.ledger.folders import ledger_mode, month_folder
from detour.ledger.process import Process
from detour.ledger.record import Record, encode, make_record
from detour.ledger.spool import import_spool, spool, spool_name
from detour.ledger.workspace import Workspace

RESERVE_BYTES = 64 * 1024
QUEUE_RECORDS = 1000
QUEUE_BYTES = RESERVE_BYTES // 2
"""The queue must fit into the reserve, together with the end of the attempt."""
SYNC_EVERY_S = 60.0
UNSYNCED_BYTES = 1 << 20
"""Kept in memory until synced, because a failed fsync may lose pages that were written long before."""


@dataclass(slots=True)
class _Pending:
    record: Record
    durability: Durability
    line: bytes = b""

    @property
    def is_end(self) -> bool:
        return self.durability is Durability.END

    @property
    def must_sync(self) -> bool:
        return self.durability in (Durability.SYNCED, Durability.END)


class Journal:
    """Thread-safe; may be called from a signal handler, even one that interrupts a call. A fork gets a new journal."""

    def __init__(self, workspace: Workspace, label: str) -> None:
        """Use `Journal.open`."""
        self.workspace = workspace
        self._label = label
        self._spool_name = spool_name(workspace)
        self._lock: threading.RLock
        self._file: AppendFile | None
        self._begin()

    @classmethod
    def open(cls, workspace: Workspace, writer: str) -> Journal:
        """Open a new journal with a unique name that starts with `writer`, and import records that wait on this node.

        Raises UserError if this user may not write to the ledger.
        """
        with suppress(OSError):  # what cannot be written yet continues to wait
            import_spool(workspace)
        return cls(workspace, re.sub(r"[^A-Za-z0-9._-]", "-", writer)[:80])

    @property
    def writer(self) -> str:
        """Unique among all writers of the workspace, forever."""
        return self._writer

    def append(
        self,
        event: Event,
        *,
        chain: str | None = None,
        stage: str | None = None,
        job: str | None = None,
        attempt: int | None = None,
    ) -> None:
        """Record an event; the `durability` of its kind says how soon it is on disk."""
        if os.getpid() != self._pid:
            self._begin()
        record = make_record(event, chain=chain, stage=stage, job=job, attempt=attempt)
        self._pending.append(_Pending(record, event.durability))
        with self._lock:
            if not self._draining:  # otherwise a signal handler interrupted `_drain`, which continues with this record
                self._drain()

    def flush(self) -> bool:
        """Write and sync everything. Returns False if something still waits."""
        with self._lock:
            if not self._draining:
                self._drain(sync=True)
            return not self._pending and not self._unsynced

    def close(self) -> None:
        """Write what waits, to the node if necessary, and remove the reserve.

        A later append begins a new file.
        """
        self.append(JournalClosed())
        with self._lock:
            if not self.flush() and (waiting := self._last_resort(self._take())):
                self._spool(waiting)
            self._release_reserve()
            if self._file is not None:
                self._file.close()
                self._file = None
            self._pid = 0

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _begin(self) -> None:
        """Start a file, also in a forked child, which must not use its parent's file or wait for its parent's lock."""
        self._pid = os.getpid()
        self._writer = f"{self._label}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.{secrets.token_hex(4)}"
        self._lock = threading.RLock()
        self._pending: deque[_Pending] = deque()
        self._unsynced: list[_Pending] = []
        self._unsynced_bytes = 0
        self._sequence = 0
        self._draining = self._spooled = False
        self._synced_at = time.monotonic()
        self._file = None
        self._reserve: Path | None = None
        self._trouble: str | None = None
        try:
            self._create()
        except (PermissionError, NotADirectoryError, FileNotFoundError, FileExistsError) as error:
            raise UserError(
                f"{self.workspace.ledger}: the ledger cannot be written ({error.strerror}); "
                "name a workspace that is yours or your group's"
            ) from error
        except OSError as error:
            self._trouble = error.strerror
        self.append(JournalOpened(**Process.current()._asdict()))

    def _create(self) -> None:
        folder = month_folder(self.workspace.root, self.workspace.ledger)
        self._file = AppendFile(folder / f"{self._writer}.jsonl", ledger_mode(self.workspace.root))
        self._reserve = folder / f".{self._writer}.reserve"
        descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(RESERVE_BYTES))  # a compressing file system cannot shrink it

    def _drain(self, *, sync: bool = False) -> None:
        """Write everything that waits; keep it if that fails."""
        self._draining = True
        batch: list[_Pending] = []
        try:
            while self._pending or (sync and self._unsynced):
                batch = self._take()
                waiting = self._commit(batch, sync or any(item.must_sync for item in batch))
                batch = []
                if any(item.is_end for item in waiting):
                    waiting = self._last_resort(waiting)
                if waiting:
                    self._pending.extendleft(reversed(self._bounded(waiting)))
                    return
        finally:
            self._pending.extendleft(reversed(batch))  # only if Ctrl-C interrupted this: a repeated record counts once
            self._draining = False

    def _take(self) -> list[_Pending]:
        """What waits now, numbered and encoded; a signal handler may add more meanwhile."""
        batch = []
        while self._pending:
            item = self._pending.popleft()
            if not item.line:
                item.record["writer"] = self._writer
                item.record["sequence"] = self._sequence
                self._sequence += 1
                item.line = encode(item.record)
            batch.append(item)
        return batch

    def _commit(self, batch: list[_Pending], sync: bool) -> list[_Pending]:
        """Append `batch`, and sync if requested or due. Returns what must wait, oldest first."""
        content = b"".join([item.line for item in batch])
        try:
            if self._file is None:
                self._create()
            assert self._file is not None
            self._file.append(content)
        except OSError as error:
            self._trouble = error.strerror
            return batch
        self._unsynced += batch
        self._unsynced_bytes += len(content)
        due = self._unsynced_bytes >= UNSYNCED_BYTES or time.monotonic() - self._synced_at >= SYNC_EVERY_S
        if not (sync or due):
            return []
        waiting, self._unsynced, self._unsynced_bytes = self._unsynced, [], 0
        try:
            self._file.sync()
        except OSError as error:
            self._trouble = error.strerror
            self._file.rewind(self._file.synced)
            return waiting
        self._synced_at = time.monotonic()
        return []

    def _last_resort(self, waiting: list[_Pending]) -> list[_Pending]:
        """Record the end of an attempt: with the reserve's space, else without other records, else on this node.

        Returns what continues to wait.
        """
        self._release_reserve()
        waiting = self._commit(waiting, True)
        ends = [item for item in waiting if item.is_end]
        rest = [item for item in waiting if not item.is_end]
        if ends:
            ends = self._commit(ends, True)
            if not ends:
                return rest
        if ends or rest:
            self._spool(sorted(ends + rest, key=lambda item: item.record["sequence"]))
        return []

    def _bounded(self, waiting: list[_Pending]) -> list[_Pending]:
        """What continues to wait: beyond the queue's limits, progress is dropped, then all others go to this node."""
        kept = trimmed(waiting)
        if _excess(kept) == (0, 0):
            return kept
        self._spool(kept)
        return []

    def _spool(self, items: list[_Pending]) -> None:
        try:
            path = spool(self.workspace, self._spool_name, self._writer, [item.line for item in items])
            what = f"its events wait on this node in {path} until the next command or job here imports them"
        except OSError as error:
            what = f"{len(items)} events are lost, since this node's disk takes none either ({error.strerror})"
        if not self._spooled:
            self._spooled = True
            import logging  # imported only here, so `detour status` starts without it

            logging.getLogger(__name__).error("the ledger cannot be written (%s); %s", self._trouble, what)

    def _release_reserve(self) -> None:
        if self._reserve is not None:
            with suppress(OSError):  # best effort: the next write shows whether there is space now
                self._reserve.unlink(missing_ok=True)
            self._reserve = None


def command_journal(workspace: Workspace) -> Journal:
    """The journal of this process as a person's command. Raises as `Journal.open` does."""
    return Journal.open(workspace, f"command-{os.getpid()}")


def trimmed(items: list[_Pending]) -> list[_Pending]:
    """The items without the oldest progress, as far as they exceed the queue's limits."""
    records, content_bytes = _excess(items)
    dropped: set[int] = set()
    for item in items:
        if records <= 0 and content_bytes <= 0:
            break
        if item.durability is Durability.DROPPABLE:
            dropped.add(item.record["sequence"])
            records -= 1
            content_bytes -= len(item.line)
    return [item for item in items if item.record["sequence"] not in dropped]


def _excess(items: list[_Pending]) -> tuple[int, int]:
    """By how many records and bytes they exceed the queue's limits."""
    content_bytes = sum(len(item.line) for item in items)
    return max(len(items) - QUEUE_RECORDS, 0), max(content_bytes - QUEUE_BYTES, 0)
