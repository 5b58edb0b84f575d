"""Which process did it, and is it still there? Answered only where it can be known: on the kernel that it ran on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Process(NamedTuple):
    """A process that cannot be confused with a later one of the same number, nor with one on another machine."""

    host: str
    pid: int
    user: str
    boot: str | None
    """Identity of the running kernel and PID namespace; None where the system does not say."""
    start_ticks: int | None
    """Start time in clock ticks since boot; None where the system does not say."""

    @classmethod
    def current(cls) -> Process:
        pid = os.getpid()
        return cls(os.uname().nodename, pid, user_name(), _boot_identity(), _start_ticks(pid))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Process | None:
        """None when the record is not one of ours: what others wrote decides nothing by raising."""
        host, pid, user = data.get("host"), data.get("pid"), data.get("user")
        if not isinstance(host, str) or not isinstance(pid, int) or not isinstance(user, str):
            return None
        boot, ticks = data.get("boot"), data.get("start_ticks")
        return cls(host, pid, user, boot if isinstance(boot, str) else None, ticks if isinstance(ticks, int) else None)

    def to_json(self) -> dict[str, Any]:
        return self._asdict()

    def is_alive(self) -> bool | None:
        """None when it ran on another machine, under another boot or in another PID namespace: unknown from here."""
        if self.pid <= 0 or self.host != os.uname().nodename or self.boot != _boot_identity():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        except OverflowError:
            return False
        return self.start_ticks is None or self.start_ticks == _start_ticks(self.pid)

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid})"


def user_name() -> str:
    """This process's user, whatever $USER says (as it may, after `su`); a number where the machine has no name."""
    import pwd  # what only asks whether a process lives does without

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def has_account(user: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(user)
    except (KeyError, ValueError):
        return False
    return True


def _boot_identity() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat, counted after the command name, which may hold anything; None for a zombie too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
