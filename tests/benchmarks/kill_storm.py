"""Two submitters give every order at once on a real Slurm, with failing clients and lost claims, and are killed.

    python -m tests.benchmarks.kill_storm [ORDERS] [VERSION] [SEED]

submit, retry, cancel, hold and release of three chains that share stages, under two paths to one workspace. Three of
ten calls of Slurm's clients fail: unheard, deaf, mute, or with a wrong number; the site's plugin rewrites names and
comments; claims vanish. Then the failures stop, every chain is released and submitted once more, and what is there
twice, left over or unfinished is counted. The stages are scripted; everything else is real.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from detour.budgets.book import Book
from detour.budgets.reservations import is_held
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster
from tests.slurm.scripted import MAIN, ScriptedEnvironment
from tests.slurm.test_orders import REWRITES
from tests.support.chains import ROOT, small

CHAINS = ("storm-1", "storm-2", "storm-3")
VERBS = ("submit", "submit", "submit", "retry", "cancel", "hold", "release")
KILLED = 0.5
LONGEST_S = 4.0
UNHEARD = 'echo "error: Unable to contact slurm controller (connect failure)" >&2; exit 1'
FAULTS = {
    "sbatch": (UNHEARD, '"$real" "$@" >/dev/null; exit 0', 'id=$("$real" "$@") && echo $((id + 90000)); exit $?'),
    "squeue": (UNHEARD, "exit 0", '"$real" "$@" | head -c 300; exit 0'),
    "scancel": (UNHEARD, "exit 0", '"$real" "$@"; exit 1'),
    "scontrol": (UNHEARD, "exit 0", '"$real" "$@"; exit 1'),
}
_SCRIPT = re.compile(r"/submissions/(?P<unit>[^/]+)/(?P<segment>\d+)-[0-9a-z]+\.sh$")


@dataclass(frozen=True)
class Storm:
    cluster: SlurmCluster
    scripted: ScriptedEnvironment
    folder: Path
    paths: Sequence[Path]
    """Paths of one workspace."""

    @property
    def environment(self) -> Mapping[str, str]:
        clients = f"{self.folder / 'clients'}:{self.cluster.environment['PATH']}"
        python = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **self.cluster.environment, "PATH": clients, **python}

    @property
    def is_calm(self) -> Path:
        return self.folder / "calm"

    def lay_out(self) -> None:
        """Clients that fail until the file `calm` exists."""
        (self.folder / "clients").mkdir()
        for name, faults in FAULTS.items():
            cases = "".join(f"{number}) {fault} ;;\n" for number, fault in enumerate(faults))
            text = (
                f"real={self.cluster.home}/bin/{name}\n[ -e {self.is_calm} ] || case $((RANDOM % 10)) in\n{cases}esac\n"
            )
            path = self.folder / "clients" / name
            path.write_text(f'#!/bin/bash\n{text}exec "$real" "$@"\n')
            path.chmod(0o755)

    def command(self, verb: str, chain: str, path: Path) -> list[str]:
        number = CHAINS.index(chain)
        changes = [f"name={chain}", f"seeds.training={number // 2}", f"benchmark.seeds=[{100 + number}]"]
        order = [*small(more=changes), "--cluster", "slurm-local", "--gpus", "1"] if verb == "submit" else [chain]
        return [str(self.scripted.python), "-c", MAIN, verb, *order, "-w", str(path)]

    def give(self, verb: str, chain: str, path: Path, limit_s: float | None = None) -> int | None:
        """The exit code; None if it was killed."""
        process = subprocess.Popen(
            self.command(verb, chain, path),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None
        if "Traceback" in said:
            print(said, file=sys.stderr)
        return process.returncode

    def orders(self, seed: int, count: int, counted: Counter[str]) -> None:
        """The orders of one submitter."""
        rng = random.Random(seed)
        for _ in range(count):
            verb, chain, path = rng.choice(VERBS), rng.choice(CHAINS), rng.choice(self.paths)
            limit_s = rng.uniform(0.1, LONGEST_S) if rng.random() < KILLED else None
            code = self.give(verb, chain, path, limit_s)
            counted["kills" if code is None else f"{verb}: exit {code}"] += 1

    def jobs(self) -> Counter[str]:
        """Slot -> number of live jobs that fill it."""
        listed = self.cluster.run("squeue", "-h", "-a", "-o", "%i|%T|%o").stdout
        jobs = {line.split("|")[0].partition("_")[0]: line.split("|")[2] for line in listed.splitlines()}
        found = [match for script in jobs.values() if (match := _SCRIPT.search(script))]
        return Counter(f"{match['unit']} {match['segment']}" for match in found)

    def held(self) -> list[str]:
        return [
            line for line in self.cluster.run("squeue", "-h", "-o", "%i %T %r").stdout.splitlines() if "Held" in line
        ]


@contextmanager
def vanishing_claims(workspace: Path, seed: int) -> Iterator[None]:
    """As on a file system with unreliable locks."""
    over, rng = threading.Event(), random.Random(seed)

    def remove() -> None:
        while not over.wait(rng.uniform(0.5, 3.0)):
            for path in (workspace / "claims").glob("submission*"):
                path.unlink(missing_ok=True)

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def storm(storming: Storm, orders: int, seed: int) -> Counter[str]:
    workspace, counted = storming.paths[0], Counter[str]()
    storming.give("submit", CHAINS[0], workspace)
    with vanishing_claims(workspace, seed):
        submitters = [
            threading.Thread(target=storming.orders, args=(seed + number, orders // 2, counted)) for number in (1, 2)
        ]
        for thread in submitters:
            thread.start()
        for thread in submitters:
            thread.join()
    storming.is_calm.touch()
    for chain in CHAINS:
        code = storming.give("submit", chain, workspace)
        storming.give("release", chain, workspace)
        counted["submissions that failed though all was calm"] += code != 0
    counted["duplicates: slots with more than one job"] = sum(count > 1 for count in storming.jobs().values())
    counted["jobs left held"] = len(storming.held())
    (workspace / "go").touch()
    deadline_s = time.monotonic() + 600
    while storming.jobs() and time.monotonic() < deadline_s:
        time.sleep(1)
    counted["orphans: jobs left in the queue"] = sum(storming.jobs().values())
    chains = Monitor(Workspace(workspace)).look().chains
    ended = sum(all(row.status == "done" for row in chain.stages) for chain in chains)
    counted["chains not carried to their end"] = len(CHAINS) - ended
    book = Book(LedgerView(Workspace(workspace)))
    counted["reservations left"] = sum(
        is_held(made, stage, book.evidence) for made in book.reservations for stage in made.amounts
    )
    return counted


def main() -> int:
    orders, version, seed = (*sys.argv[1:], *("80", "24.11", "1")[len(sys.argv) - 1 :])
    chosen: Version = next(one for one in VERSIONS if one == version)
    open_run()
    try:
        settings = ClusterSettings(chosen, job_submit=REWRITES)
        with tempfile.TemporaryDirectory() as place, own_cluster(settings) as cluster:
            folder = Path(place)
            (folder / "workspace").mkdir(0o700)
            (folder / "second").symlink_to(folder / "workspace")
            scripted = ScriptedEnvironment(folder / "environment", [cluster.settings.user])
            storming = Storm(cluster, scripted, folder, (folder / "workspace", folder / "second"))
            storming.lay_out()
            counted = storm(storming, int(orders), int(seed))
    finally:
        close_run()
    for name, count in counted.items():
        print(f"{count:5d}  {name}")
    wrong = ("submissions", "duplicates", "jobs left", "orphans", "chains", "reservations")
    return 1 if any(count for name, count in counted.items() if name.startswith(wrong)) else 0


if __name__ == "__main__":
    sys.exit(main())
