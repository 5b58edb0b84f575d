"""Daemons started apart from their starter, known again by any process from a pid file, and stopped for sure."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.cluster.settings import ClusterError


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 240.0, every_s: float = 0.2) -> None:
    """Raises ClusterError when `condition` still does not hold after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"gave up after {timeout_s:.0f} s waiting for {what}")
        time.sleep(every_s)


def started_ticks(pid: int) -> str | None:
    """When the process began (with its pid, its identity); None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


@dataclass(frozen=True)
class Processes:
    """The daemons of one cluster: `run/<name>.pid` says which process each one is, `log/<name>.out` what it said."""

    home: Path

    def spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with (self.home / "log" / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.home,
                start_new_session=True,
            )
        (self.home / "run" / f"{name}.pid").write_text(f"{process.pid} {started_ticks(process.pid)}")

    def pid(self, name: str) -> int | None:
        """None when the daemon does not run; a recycled pid is not mistaken for it."""
        try:
            pid, started = (self.home / "run" / f"{name}.pid").read_text().split()
        except FileNotFoundError:
            return None
        return int(pid) if started_ticks(int(pid)) == started else None

    def stop(self, name: str, with_signal: signal.Signals = signal.SIGTERM, timeout_s: float = 20.0) -> None:
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, with_signal)
            wait_until(lambda: self.pid(name) is None, f"{name} to end", timeout_s)


def hosts_namespace(pid: int) -> str:
    """The UTS namespace of a process, which is the test cluster's idea of a machine."""
    return str(Path(f"/proc/{pid}/ns/uts").readlink())


def kill_namespaces(namespaces: Sequence[str]) -> None:
    """SIGKILL to every process of these machines; a power cut. Ours is never among them."""
    doomed = set(namespaces) - {hosts_namespace(os.getpid())}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if hosts_namespace(int(entry.name)) in doomed:
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
