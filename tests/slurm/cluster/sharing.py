"""One cluster of each version for a whole test run, started by whichever process asks first; others for one test.

The run (pytest, or the controller of pytest-xdist's workers) owns every cluster: when it ends, even by SIGKILL, so do
they.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.slurm.cluster.__main__ import READY
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import started_ticks, wait_until
from tests.slurm.cluster.settings import ClusterError, ClusterSettings, Version

OWNER, FOLDER = "DETOUR_TEST_OWNER", "DETOUR_TEST_CLUSTERS"
"""Environment of a test run and its workers: the owner's pid and the directory of its clusters."""
REPOSITORY = Path(__file__).parents[3]


def open_run() -> None:
    """Make this process the owner, unless it is a worker of one."""
    if OWNER not in os.environ:
        os.environ[OWNER] = str(os.getpid())
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="detour-slurm-")
        Path(os.environ[FOLDER]).chmod(0o755)


def close_run() -> None:
    """The owner stops what still runs and removes the directory."""
    if os.environ.get(OWNER) != str(os.getpid()):
        return
    folder = Path(os.environ.pop(FOLDER))
    del os.environ[OWNER]
    for supervisor in folder.glob("*.supervisor"):
        _end(supervisor)
    shutil.rmtree(folder)


def shared_cluster(version: Version) -> SlurmCluster:
    """The run's cluster of this version, started by the first to ask; do not stop its daemons."""
    folder = Path(os.environ[FOLDER])
    home = folder / version
    with (folder / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / READY).exists():
            _launch(home, ClusterSettings(version))
    return SlurmCluster.load(home)


@contextmanager
def own_cluster(settings: ClusterSettings) -> Iterator[SlurmCluster]:
    """A cluster to be maltreated; it takes some 2 s to start."""
    home = Path(tempfile.mkdtemp(prefix=f"{settings.version}-", dir=os.environ[FOLDER]))
    supervisor = _launch(home, settings)
    try:
        yield SlurmCluster.load(home)
    finally:
        _end(supervisor)


def _launch(home: Path, settings: ClusterSettings) -> Path:
    """Start the supervisor and wait for its cluster; returns the file that names it."""
    command = [sys.executable, "-m", "tests.slurm.cluster", str(home), "--owner", os.environ[OWNER]]
    log = home.with_suffix(home.suffix + ".out")
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--settings", json.dumps(asdict(settings))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=REPOSITORY,
            start_new_session=True,
        )
    supervisor = home.with_suffix(home.suffix + ".supervisor")
    supervisor.write_text(str(process.pid))
    wait_until(lambda: (home / READY).exists() or process.poll() is not None, f"{home.name}: {log}", 300)
    if process.poll() is not None:
        raise ClusterError(f"the Slurm {settings.version} cluster did not start:\n{log.read_text()}")
    return supervisor


def _end(supervisor: Path) -> None:
    """SIGTERM, and wait: the cluster's directory is gone when its supervisor has done all."""
    pid = int(supervisor.read_text())
    supervisor.unlink()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(handle):
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        wait_until(lambda: started_ticks(pid) is None, f"the supervisor {pid} to end", 90)
