"""Where everything lies: one directory on the shared file system, private by default.

<workspace>/
  ledger/<yyyy-mm>/<writer>.jsonl   append-only journals, one writer a file
  stages/<kind>-<key>/
    stage.json                      what it is (detour.plan.Stage), written before anything runs
    work/                           kept between attempts: checkpoints, per-seed results
    output.<attempt>/               being written
    output/                         complete, renamed into place; output/manifest.json is the success marker
    failed.json                     a failure that a retry cannot cure by itself; removed by `retry`
    logs/                           one file an attempt
  chains/<name>/plan.json           the plan as last submitted
  code/<digest>/                    snapshots of the code that jobs run
  models/                           links to exported encoders, by chain name
  claims/<name>.json                who is doing now what only one may do
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from detour.files import fsync_directory

VARIABLE = "DETOUR_WORKSPACE"


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    @classmethod
    def find(cls, given: Path | None = None) -> Workspace:
        """The directory given, else `$DETOUR_WORKSPACE`, else `./workspace`; it need not exist yet."""
        return cls((given or Path(os.environ.get(VARIABLE, "workspace"))).absolute())

    def create(self) -> None:
        for name in ("ledger", "stages", "chains", "code", "models", "claims"):
            make_folder(self, self.root / name)

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    @property
    def claims(self) -> Path:
        return self.root / "claims"

    def stage(self, stage_id: str) -> Path:
        return self.root / "stages" / stage_id

    def output(self, stage_id: str) -> Path:
        return self.stage(stage_id) / "output"

    def manifest(self, stage_id: str) -> Path:
        return self.output(stage_id) / "manifest.json"

    def failure(self, stage_id: str) -> Path:
        return self.stage(stage_id) / "failed.json"

    def is_done(self, stage_id: str) -> bool:
        """The marker's word, which outranks Slurm's and the ledger's."""
        return self.manifest(stage_id).is_file()

    def chain(self, name: str) -> Path:
        return self.root / "chains" / name


def ledger_mode(workspace: Workspace) -> int:
    """0600, plus what the workspace's own mode grants its group."""
    return 0o600 | stat.S_IMODE(workspace.root.stat().st_mode) & 0o060


def make_folder(workspace: Workspace, folder: Path) -> None:
    """Create `folder` inside the workspace, and the workspace, durably; its group may what it may in the workspace."""
    if folder.is_dir():
        return
    if folder == workspace.root:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    make_folder(workspace, folder.parent)
    group = stat.S_IMODE(workspace.root.stat().st_mode) & 0o2070
    with suppress(FileExistsError):  # somebody else made it just now, and sets its mode
        folder.mkdir(mode=0o700 | group)
        folder.chmod(0o700 | group)
        fsync_directory(folder.parent)


def month_folder(workspace: Workspace) -> Path:
    """`ledger/<yyyy-mm>` of the present month (UTC)."""
    folder = workspace.ledger / time.strftime("%Y-%m", time.gmtime())
    make_folder(workspace, folder)
    return folder
