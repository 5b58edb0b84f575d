"""The real command and the real jobs for any OS user of this machine, with stages that only pretend to work.

Everything around a stage is real: plan, price, claims, submission, ledger, start gate, attempt, output and manifest.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.cluster.cluster import SlurmCluster, as_user
from tests.support.chains import ROOT

MAIN = "from detour.launch.cli import main; main()"
STAGES = """\
# Imported at every start of this environment's Python: a job's stage waits for the file `go` of the workspace, if it
# has no inputs, and leaves one small file.
import os
import time

if "SLURM_JOB_ID" in os.environ:
    import detour.jobs.work

    def stage_function(kind):
        def run(context):
            go = context.output_dir.parents[2] / "go"
            while not context.stage.inputs and not go.exists():
                time.sleep(0.1)
            (context.output_dir / "result").write_text(kind)
            return {}

        return run

    detour.jobs.work.stage_function = stage_function
"""


@dataclass(frozen=True)
class ScriptedEnvironment:
    """A virtual environment that uses the packages of this one. Skips the test if no Python is open to everyone."""

    folder: Path
    users: Sequence[str]

    def __post_init__(self) -> None:
        packages = self.folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        packages.mkdir(parents=True)
        (self.folder / "bin").mkdir()
        (packages / "a.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        (packages / "b.pth").write_text("import scripted_stages\n")
        (packages / "scripted_stages.py").write_text(STAGES)
        for candidate in (Path(sys.executable).resolve(), Path(f"/usr/bin/python3.{sys.version_info.minor}")):
            self.python.unlink(missing_ok=True)
            self.python.symlink_to(candidate)
            (self.folder / "pyvenv.cfg").write_text(f"home = {candidate.parent}\n")
            if all(self._works_for(user) for user in self.users):
                return
        pytest.skip(f"no Python that {' and '.join(self.users)} can run")

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def _works_for(self, user: str) -> bool:
        # through a shell, since setpriv still has root's rights when it looks for the program
        words = [*as_user(user), "sh", "-c", f"{self.python} -c {shlex.quote(MAIN.partition(';')[0])}"]
        return subprocess.run(words, env=self._paths, cwd="/", capture_output=True, check=False).returncode == 0

    @property
    def _paths(self) -> dict[str, str]:
        return {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}

    def start(self, cluster: SlurmCluster, user: str, *arguments: str | Path) -> subprocess.Popen[str]:
        """`detour` with these arguments as this user, whose umask lets no one else read their files."""
        command = ("sh", "-c", 'umask 077; exec "$@"', "_", str(self.python), "-c", MAIN, *map(str, arguments))
        return subprocess.Popen(
            [*as_user(user), *command],
            env={**cluster.environment, **self._paths, "HOME": "/nonexistent"},
            cwd=cluster.home / "tmp",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def answer(process: subprocess.Popen[str]) -> str:
    """What it printed; a failure shows its error output."""
    out, complaint = process.communicate(timeout=180)
    assert process.returncode == 0, f"exit {process.returncode}\n{out}{complaint}"
    return out
