"""`python -m tests.slurm.cluster HOME`: a cluster that lives until its owner ends or a signal comes.

Tests start it through `tests.slurm.cluster.sharing`; a person runs it in a terminal, copies the two `export` lines it
prints to another one, and ends it with Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import VERSIONS, ClusterError, ClusterSettings, any_reserved, reserve_ports

READY = "ready"


def serve(home: Path, settings: ClusterSettings, owner: int | None) -> None:
    """Start, announce, wait, tear down. A cluster that did not come up leaves its directory, for the logs."""
    stop = os.pidfd_open(owner) if owner else None
    home.mkdir(parents=True, exist_ok=True)
    port, reservation = reserve_ports()
    cluster = SlurmCluster(home, settings, port)
    with quick_loopback(), reservation:
        try:
            cluster.start()
            for name, value in cluster.environment.items():
                print(f"export {name}={value}", flush=True)
            (home / READY).touch()
            _wait(stop)
        finally:
            cluster.stop()
            if (home / READY).exists():
                shutil.rmtree(home)


@contextmanager
def quick_loopback() -> Iterator[None]:
    """Acknowledge at once on the loopback route (root only), until the last cluster of this machine ends.

    Slurm 22.05 sends its messages in two writes, and so waits 40 ms in most calls: 7 s to start, against 1.3 s.
    """
    _loopback_route("quickack", "1")
    try:
        yield
    finally:
        if not any_reserved():
            _loopback_route()


def _loopback_route(*options: str) -> None:
    """Without root or `ip` everything works, only slower."""
    for destination in ("127.0.0.0/8", "127.0.0.1"):
        route = ["local", destination, "dev", "lo", "proto", "kernel", "scope", "host", "src", "127.0.0.1"]
        if os.geteuid() == 0 and shutil.which("ip"):
            subprocess.run(["ip", "route", "change", *route, "table", "local", *options], check=False)


def _wait(owner: int | None) -> None:
    """Until the owner (a pidfd) is gone or a signal asks to stop, collecting daemons that end meanwhile."""
    while not select.select([owner] if owner else [], [], [], 0.5)[0]:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            continue


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slurm.cluster", description="A real Slurm for tests.")
    parser.add_argument("home", type=Path, help="directory to create; removed at the end")
    parser.add_argument("--owner", type=int, help="process whose end is ours")
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[0])
    parser.add_argument("--settings", type=json.loads, help="all settings as JSON, in place of --version")
    options = parser.parse_args()
    settings = ClusterSettings.from_json(options.settings) if options.settings else ClusterSettings(options.version)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        serve(options.home, settings, options.owner)
    except ClusterError as error:
        print(f"slurm cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
