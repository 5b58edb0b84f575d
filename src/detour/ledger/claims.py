"""Mutual exclusion where it matters: who may submit, or run a stage. A file that only one can create, without locks.

`claims/<name>.json` is created O_EXCL, which holds even where file locks are unreliable, and names its owner. It is
stale if the owner's process is known to be dead, or if that is unknown (another machine) and there has been no sign of
life for long.

A stale claim is replaced by rename, never removed first, so there is no instant without a claim. A process that changes
or removes the claim with token T, its owner included, must first create `<name>.<T>.<n>`: of several that find the same
stale claim one wins, and a former owner cannot release a claim that was taken over. Only the file system's clock
measures age. There is no waiting: `claim` succeeds or raises.

A full disk still takes an empty file. Such a claim is never completed: it is stale soon after its owner's last sign of
life, and is identified by its inode, which the owner keeps open so that no other file can get it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from detour.disk import OUT_OF_ROOM
from detour.errors import UserError
from detour.files import naming, write_atomic
from detour.ledger.folders import ledger_mode, make_folder
from detour.ledger.process import Process
from detour.ledger.workspace import Workspace
from detour.times import is_instant

STALE_AFTER_S = 900.0
"""Seconds without a sign of life from a machine that cannot be checked; owners refresh every 30 s or so."""
UNFINISHED_AFTER_S = 30.0
"""Seconds for which a claim may stay empty, or a change of owner unfinished, before its author counts as dead."""
FRESH_EVERY_S = UNFINISHED_AFTER_S / 4
TRIES = 5
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_TOKEN = re.compile(r"[A-Za-z0-9]{1,64}")
"""Part of a file's name. Any member of the group can write a claim, so any other text counts as damage."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a claim, as far as the file shows."""

    owner: str
    process: Process | None
    since_s: float | None
    token: str
    """Empty while the claim is being written, or if its author died while writing it."""
    is_stale: bool

    def __str__(self) -> str:
        since = f" since {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.since_s))}" if self.since_s else ""
        known = [self.owner, str(self.process or "")]
        return f"{', '.join(filter(None, known)) or 'an unknown process'}{since}"


class ClaimHeld(UserError):
    """Another process holds the claim; `holder` says which. Not an error for callers that can join it."""

    def __init__(self, name: str, holder: Holder) -> None:
        super().__init__(f"{name} is held by {holder}; wait for it to end, or ask that person")
        self.holder = holder


class Claim:
    """Held until `release`. Call `refresh` now and then, so that other machines do not take the owner for dead.

    An empty claim refreshes itself.
    """

    def __init__(self, workspace: Workspace, name: str, token: str) -> None:
        """`token` is empty for an empty claim."""
        self._workspace, self.name, self._token = workspace, name, token
        self._descriptor: int | None = None
        self._released = threading.Event()
        if not token:
            self._descriptor = os.open(_path(workspace, name), os.O_RDONLY | os.O_CLOEXEC)
            threading.Thread(target=self._stay_fresh, daemon=True).start()

    def refresh(self) -> bool:
        """Show a sign of life. False if the claim is no longer ours; a failing disk proves nothing and is ignored."""
        path = _path(self._workspace, self.name)
        try:
            if not self._is_ours(path):
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def release(self) -> None:
        """Give the claim back, unless another process has taken it over; a second release does nothing.

        A claim that a failing or full disk keeps is stale as soon as its process has ended.
        """
        path = _path(self._workspace, self.name)
        self._released.set()
        with contextlib.suppress(OSError), _right_to_change(self._workspace, self.name, self._token) as right:
            if right and self._is_ours(path):
                path.unlink()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_ours(self, path: Path) -> bool:
        if self._token:
            return _token(path) == self._token
        return self._descriptor is not None and os.path.samestat(os.fstat(self._descriptor), path.stat())

    def _stay_fresh(self) -> None:
        while not self._released.wait(FRESH_EVERY_S) and self.refresh():
            pass

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()


def claim(
    workspace: Workspace, name: str, owner: str, *, stale_after_s: float = STALE_AFTER_S, without_room: bool = False
) -> Claim:
    """Take `name` for this process; `owner` describes it for people. Raises ClaimHeld at once if a live process has it.

    With `without_room`, a full disk gives an empty claim, which does not name its owner; otherwise it raises OSError.
    """
    make_folder(workspace.root, workspace.claims)
    token = secrets.token_hex(8)
    content = orjson.dumps(
        {
            "name": name,
            "owner": owner,
            "token": token,
            "since_s": time.time(),
            **Process.current().to_json(),
        }
    )
    try:
        return _taken(workspace, name, token, content, stale_after_s)
    except OSError as error:
        if not without_room or error.errno not in OUT_OF_ROOM:
            raise
    return _taken(workspace, name, "", b"", stale_after_s)


def _taken(workspace: Workspace, name: str, token: str, content: bytes, stale_after_s: float) -> Claim:
    path, present = _path(workspace, name), None
    for _ in range(TRIES):
        if _created(path, content, ledger_mode(workspace.root)):
            return Claim(workspace, name, token)
        present = _present(path, stale_after_s)
        if present is None:
            continue
        if not present.is_stale:
            raise ClaimHeld(name, present)
        with _right_to_change(workspace, name, present.token) as right:
            if right and _present(path, stale_after_s) == present:
                write_atomic(path, content)
                path.chmod(ledger_mode(workspace.root))
                return Claim(workspace, name, token)
    raise ClaimHeld(name, present or Holder("", None, None, "", is_stale=False))


def holder(workspace: Workspace, name: str) -> Holder | None:
    """The live holder of `name`; None if it is free or its claim is stale."""
    present = _present(_path(workspace, name), STALE_AFTER_S)
    return None if present is None or present.is_stale else present


def _path(workspace: Workspace, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a claim")
    return workspace.claims / f"{name}.json"


def _created(path: Path, content: bytes, mode: int) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        return False
    try:
        with naming(path), os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # the umask would remove the group's permissions
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> dict[str, Any]:
    """The claim's content, empty if it is being written or is damaged. Raises FileNotFoundError if there is none."""
    data = _json(path)
    token = data.get("token")
    return data if isinstance(token, str) and _TOKEN.fullmatch(token) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        data = orjson.loads(path.read_bytes())
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _token(path: Path) -> str:
    try:
        return str(_read(path).get("token", ""))
    except FileNotFoundError:
        return "gone"


def _present(path: Path, stale_after_s: float) -> Holder | None:
    try:
        data = _read(path)
        process = Process.from_json(data)
        alive = process.is_alive() if process else None
        limit_s = stale_after_s if data else UNFINISHED_AFTER_S
        stale = _age_s(path) > limit_s if alive is None else not alive
    except FileNotFoundError:
        return None
    since_s = data.get("since_s")
    is_known = isinstance(since_s, int | float) and is_instant(since_s)
    return Holder(
        owner=str(data.get("owner", "")),
        process=process,
        since_s=since_s if is_known else None,
        token=str(data.get("token", "")),
        is_stale=stale,
    )


def _age_s(path: Path) -> float:
    """Seconds since the last sign of life, by the clock that stamps files: on a network file system, the server's."""
    probe = path.with_name(f".now-{secrets.token_hex(4)}")
    try:
        probe.touch()
        now_s = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
    except OSError as error:  # read-only access, or no room: use this machine's clock
        if not isinstance(error, PermissionError) and error.errno not in (errno.EROFS, *OUT_OF_ROOM):
            raise
        now_s = time.time()
    return now_s - path.stat().st_mtime


@contextlib.contextmanager
def _right_to_change(workspace: Workspace, name: str, token: str) -> Iterator[bool]:
    """Yields whether only this process may change the claim with `token`, until the context ends."""
    folder = workspace.claims
    found = (path for path in folder.glob(f"{name}.{token}.*") if path.suffix[1:].isdecimal())
    marks = sorted(found, key=lambda path: int(path.suffix[1:]))
    number = 0
    if marks:
        if not _is_abandoned(marks[-1]):
            yield False
            return
        number = int(marks[-1].suffix[1:]) + 1
    mark, mode = folder / f"{name}.{token}.{number}", ledger_mode(workspace.root)
    try:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        yield False
        return
    try:
        with contextlib.suppress(OSError), os.fdopen(descriptor, "wb") as file:  # without room, its age decides
            os.fchmod(descriptor, mode)
            file.write(orjson.dumps(Process.current().to_json()))
        yield True
    finally:
        for used in (*marks, mark):
            used.unlink(missing_ok=True)


def _is_abandoned(mark: Path) -> bool:
    """Whether the process that made the mark is dead: known to be, or else by the mark's age."""
    alive = None
    try:
        with contextlib.suppress(PermissionError):
            process = Process.from_json(_json(mark))
            alive = process.is_alive() if process else None
        return _age_s(mark) > UNFINISHED_AFTER_S if alive is None else not alive
    except FileNotFoundError:
        return False
