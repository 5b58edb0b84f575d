"""What kind of cluster a test wants, and where the programs and ports for it are found."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Version = Literal["22.05", "24.11"]
VERSIONS: tuple[Version, ...] = ("22.05", "24.11")
NEWER_TREE = Path(__file__).parents[3] / ".cache" / "slurm-24.11"
PORTS = range(21_000, 31_000, 100)
"""First ports of the blocks that clusters take, below the usual ephemeral range."""
SRUN_PORTS = range(20, 99)
RESERVATION_PORT = 99
"""Held open while a cluster lives, so that no other takes its block."""


class ClusterError(RuntimeError):
    """The cluster could not be brought up or down; the message says where its logs are."""


def current_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


@dataclass(frozen=True)
class ClusterSettings:
    """One cluster; the defaults resemble a national site with four GPU nodes and one CPU node."""

    version: Version = "22.05"
    name: str = "local"
    beside: str = ""
    """Home of another cluster of the site, whose munge and slurmdbd it uses: `--clusters` then reaches both."""
    gpu_nodes: int = 4
    cpu_nodes: int = 1
    gpus_per_node: int = 4
    user: str = field(default_factory=current_user)
    """Unix user that every daemon runs as; another than the caller's needs root."""
    users: tuple[str, ...] = ()
    """Further unix users that may submit."""
    accounting: bool = True
    """False: no slurmdbd, no QOS and no accounts, as on a site without accounting."""
    min_job_age_s: int = 300
    slurmd_timeout_s: int = 10
    requeue_delay_s: int = 5
    """How long a requeued job waits; Slurm's default is 120 and it refuses less than 5."""
    message_timeout_s: int = 20
    """How long a call tries to reach slurmctld: short where a test stops it, long for a busy machine elsewhere."""
    max_array_size: int = 20_001
    extra_configuration: str = ""
    """Lines put at the end of slurm.conf."""
    job_submit: str = ""
    """A site's plugin, in Lua; none where it is empty."""
    max_job_count: int = 200_000

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClusterSettings:
        return cls(**{**data, "users": tuple(data["users"])})

    @property
    def gpu_names(self) -> list[str]:
        return [f"gpu{index}" for index in range(1, self.gpu_nodes + 1)]

    @property
    def cpu_names(self) -> list[str]:
        return [f"cpu{index}" for index in range(1, self.cpu_nodes + 1)]

    @property
    def node_names(self) -> list[str]:
        return [*self.gpu_names, *self.cpu_names]


@dataclass(frozen=True)
class Programs:
    """Absolute paths of one version's programs."""

    root: Path
    plugins: Path
    clients: Path

    @classmethod
    def find(cls, version: Version) -> Programs:
        root = Path("/") if version == VERSIONS[0] else NEWER_TREE
        if not (root / "usr/bin/sbatch").exists():
            raise ClusterError(f"Slurm {version} is not installed under {root}: run `make slurm`")
        return cls(root, next(root.glob("usr/lib/*/slurm-wlm")), root / "usr/bin")

    def daemon(self, name: str) -> Path:
        """Debian's slurmctld is an alternative that an emulator may take over; `-wlm` is the real one."""
        real = self.root / "usr/sbin" / f"{name}-wlm"
        return real if real.exists() else self.root / "usr/sbin" / name


def program(name: str) -> str:
    """A program of the machine itself, also where /usr/sbin is not on the path."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise ClusterError(f"`{name}` is not installed: run `make slurm`")
    return found


def reserve_ports() -> tuple[int, socket.socket]:
    """First port of a free block of 100, and the socket that keeps it ours while it is open."""
    for base in PORTS:
        reservation = _bound(base + RESERVATION_PORT)
        if reservation is None:
            continue
        probes = [_bound(base + offset) for offset in range(SRUN_PORTS.start)]
        for probe in probes:
            if probe is not None:
                probe.close()
        if None not in probes:
            return base, reservation
        reservation.close()
    raise ClusterError(f"no free block of ports from {PORTS.start} to {PORTS.stop}")


def any_reserved() -> bool:
    """Whether some test cluster lives on this machine."""
    for base in PORTS:
        probe = _bound(base + RESERVATION_PORT)
        if probe is None:
            return True
        probe.close()
    return False


def _bound(port: int) -> socket.socket | None:
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
        probe.listen()
    except OSError:
        probe.close()
        return None
    return probe
