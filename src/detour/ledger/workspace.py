"""Where everything lies: one directory on the shared file system, private by default.

<workspace>/
  workspace.json                    its id (detour.ledger.identity)
  ledger/<yyyy-mm>/<writer>.jsonl   append-only journals, one writer a file
  stages/<kind>-<key>/
    stage.json                      what it is (detour.planning.Stage), written before anything runs
    work/                           kept between attempts: checkpoints, per-seed results
    output.<attempt>/               being written
    output/                         complete, renamed into place; output/manifest.json is the success marker
    failed.json                     a failure that a retry cannot cure by itself; removed by `retry`
    logs/                           one file an attempt
  chains/<name>/plan.json           the plan as last submitted
  code/<digest>/                    snapshots of the code that jobs run
  models/<chain>                    link to the exported encoder; leads nowhere until the export is done
  models/<chain>@<alias>            link to the version that an alias leads to (detour.models)
  hub/<chain>/                      card and model as they go to the hub (detour.cards)
  claims/<name>.json                who is doing now what only one may do
  compiled/<uid>/                   what torch has compiled for that user
  pins/<stage id>                   kept whatever plans say; in it, why
  .trash/                           on its way out: see detour.housekeeping.removing
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from detour.errors import UserError

VARIABLE = "DETOUR_WORKSPACE"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    @classmethod
    def find(cls, given: str | Path | None = None) -> Workspace:
        """The directory given, else `$DETOUR_WORKSPACE`, else `./workspace`; it need not exist yet.

        Raises UserError for a file, and for a path that no batch script can hold.
        """
        root = Path(given or os.environ.get(VARIABLE) or "workspace").absolute()
        if {"Cc", "Cs"}.intersection(map(unicodedata.category, str(root))):
            raise UserError(
                f"workspace {str(root)!r}: its path holds a line break, another control character or bytes that are not"
                " UTF-8, which batch scripts cannot hold; choose another with --workspace"
            )
        if root.exists() and not root.is_dir():
            raise UserError(f"workspace {root}: is no folder; choose another with --workspace or ${VARIABLE}")
        return cls(root)

    def create(self) -> None:
        """Folders and identity, durably. Raises UserError where a link stands in place of a folder."""
        from detour.ledger.folders import make_folder  # what only reads, as `detour status`, starts without it
        from detour.ledger.identity import establish

        make_folder(self.root, self.root)
        establish(self.root)
        for name in ("ledger", "stages", "chains", "code", "models", "claims"):
            make_folder(self.root, self.root / name)

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    @property
    def claims(self) -> Path:
        return self.root / "claims"

    def stage(self, stage_id: str) -> Path:
        return Path(f"{self.root}/stages/{stage_id}")  # a report asks thousands of times; one step, not three

    def output(self, stage_id: str) -> Path:
        return Path(f"{self.root}/stages/{stage_id}/output")

    def output_file(self, stage_id: str, name: str) -> str:
        """Its path as text: to make ten thousand `Path`s takes a report as long as to read the files."""
        return f"{self.root}/stages/{stage_id}/output/{name}"

    def manifest(self, stage_id: str) -> Path:
        return Path(self.output_file(stage_id, MANIFEST))

    def failure(self, stage_id: str) -> Path:
        return self.stage(stage_id) / "failed.json"

    def is_done(self, stage_id: str) -> bool:
        """The marker's word, which outranks Slurm's and the ledger's."""
        return _is_file(self.output_file(stage_id, MANIFEST))

    def has_failed(self, stage_id: str) -> bool:
        """For good: until `retry` takes the marker away."""
        return _is_file(f"{self.root}/stages/{stage_id}/failed.json")

    def chain(self, name: str) -> Path:
        return self.root / "chains" / name


def _is_file(path: str) -> bool:
    """What may not be looked at raises OSError. A `status` asks hundreds of times, and `Path.is_file` takes six times
    as long."""
    try:
        return S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
