"""The layout of a workspace: one directory on the shared file system, private by default.

<workspace>/
  workspace.json                    its id (detour.ledger.identity)
  ledger/<yyyy-mm>/<writer>.jsonl   append-only journals, one per writer
  stages/<kind>-<key>/
    stage.json                      the stage (detour.planning.Stage), written before anything runs
    work/                           kept between attempts: checkpoints, per-seed results
    output.<attempt>/               being written
    output/                         complete, renamed into place; output/manifest.json is the success marker
    failed.json                     a failure that running again does not cure by itself; removed by `retry`
    logs/                           one file per attempt
  chains/<name>/plan.json           the plan as last submitted
  code/<digest>/                    snapshots of the code that jobs run
  models/<chain>                    link to the exported encoder; dangling until the export is done
  models/<chain>@<alias>            link to the version that an alias leads to (detour.models)
  hub/<chain>/                      card and model as they go to the hub (detour.cards)
  claims/<name>.json                which process is doing something that only one may do
  compiled/<uid>/                   what torch has compiled for that user
  pins/<stage id>                   kept whatever the plans need; its content says why
  .trash/                           being removed: see detour.housekeeping.removing
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from detour.errors import UserError
from detour.paths import written_path
from detour.text import pasted

VARIABLE = "DETOUR_WORKSPACE"
MANIFEST = "manifest.json"
"""File in every output with digests and provenance; it marks the output as complete."""


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    @classmethod
    def find(cls, given: str | Path | None = None) -> Workspace:
        """The given directory, or `$DETOUR_WORKSPACE`, or `./workspace`; it need not exist yet.

        Raises UserError for a file, or a path that batch scripts cannot contain.
        """
        root = _root(given)
        if {"Cc", "Cs"}.intersection(map(unicodedata.category, str(root))):
            raise UserError(
                f"workspace {str(root)!r}: its path holds a line break, another control character or bytes that are not"
                " UTF-8, which batch scripts cannot hold; choose another with --workspace"
            )
        if root.exists() and not root.is_dir():
            raise UserError(f"workspace {root}: is not a folder; choose another with --workspace or ${VARIABLE}")
        return cls(root)

    def command(self, verb: str, *names: str, options: Sequence[str] = ()) -> str:
        """A command of detour about this workspace, to paste: with `-w` unless it is found without, and quoted.

        Messages that suggest a command use this, because names may begin with `-` or contain blanks.
        """
        place = () if self.root == _root(None) else ("-w", str(self.root))
        end = ("--",) if any(name.startswith("-") for name in names) else ()
        return pasted("detour", verb, *place, *options, *end, *names)

    def create(self) -> None:
        """Create folders and identity, durably. Raises UserError if a link is in place of a folder."""
        from detour.ledger.folders import make_folder  # read-only commands such as `detour status` start without it
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
        return Path(f"{self.root}/stages/{stage_id}")  # a report calls this thousands of times: one step, not three

    def output(self, stage_id: str) -> Path:
        return Path(f"{self.root}/stages/{stage_id}/output")

    def output_file(self, stage_id: str, name: str) -> str:
        """The path as text: creating ten thousand `Path`s takes a report as long as reading the files."""
        return f"{self.root}/stages/{stage_id}/output/{name}"

    def manifest(self, stage_id: str) -> Path:
        return Path(self.output_file(stage_id, MANIFEST))

    def failure(self, stage_id: str) -> Path:
        return self.stage(stage_id) / "failed.json"

    def is_done(self, stage_id: str) -> bool:
        """Whether the success marker exists, which takes precedence over Slurm and the ledger."""
        return _is_file(self.output_file(stage_id, MANIFEST))

    def has_failed(self, stage_id: str) -> bool:
        """Whether it failed permanently: until `retry` removes the marker."""
        return _is_file(f"{self.root}/stages/{stage_id}/failed.json")

    def chain(self, name: str) -> Path:
        return self.root / "chains" / name


def marked(has_marker: Callable[[str], bool], stage_id: str) -> bool:
    """Whether a stage has a marker; False if its folder cannot be read, such as one that another user keeps private."""
    with suppress(OSError):
        return has_marker(stage_id)
    return False


def _root(given: str | Path | None) -> Path:
    return written_path(str(given or os.environ.get(VARIABLE) or "workspace")).absolute()


def _is_file(path: str) -> bool:
    """Whether a regular file is at the path; six times as fast as `Path.is_file`, and called hundreds of times.

    Raises OSError if it may not be looked at.
    """
    try:
        return S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
