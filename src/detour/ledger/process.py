"""A process's identity, and whether it is still alive, which only the kernel on which it ran can tell."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Process(NamedTuple):
    """A process, distinguished from a later one with the same number and from those of other machines."""

    host: str
    pid: int
    user: str
    boot: str | None
    """Identity of the running kernel and PID namespace; None if the system does not tell."""
    start_ticks: int | None
    """Start time in clock ticks since boot; None if the system does not tell."""

    @classmethod
    def current(cls) -> Process:
        pid = os.getpid()
        return cls(os.uname().nodename, pid, user_name(), _boot_identity(), _start_ticks(pid))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Process | None:
        """None if the record is not of our form: what others wrote must not raise."""
        host, pid, user = data.get("host"), data.get("pid"), data.get("user")
        if not isinstance(host, str) or not isinstance(pid, int) or not isinstance(user, str):
            return None
        boot, ticks = data.get("boot"), data.get("start_ticks")
        return cls(host, pid, user, boot if isinstance(boot, str) else None, ticks if isinstance(ticks, int) else None)

    def to_json(self) -> dict[str, Any]:
        return self._asdict()

    def is_alive(self) -> bool | None:
        """None, for unknown, if it ran on another machine, under another boot or in another PID namespace."""
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
    """This process's user, whatever $USER says (it differs after `su`); the user id if it has no name here."""
    import pwd  # not needed to check whether a process is alive

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


def users_here(others: Iterable[str]) -> list[str]:
    """This user, then the others who have an account on this machine, sorted.

    Users without an account here have no jobs here, and squeue refuses a list with an unknown name.
    """
    me = user_name()
    return [me, *filter(has_account, sorted({*others} - {me}))]


def _boot_identity() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat, counted after the command name, which may contain anything; None for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
