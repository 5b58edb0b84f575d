"""The files that are detour's code, in a git checkout, a snapshot or an installation. Standard library only.

In a checkout these are the files that git tracks, with their current content, and new modules (`*.py`) that git does
not ignore, without which jobs would fail. Other ignored or untracked files are left out, because they may hold secrets
(`.env`, a token) and others can read the workspace that snapshots and patches go to. Without git, files are selected by
their suffix.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).resolve().parents[1]
CODE_ROOT = _PACKAGE.parents[1] if _PACKAGE.parent.name == "src" else _PACKAGE.parent
"""Top of the checkout or snapshot that this code runs from, or the folder in which it is installed."""
DOORS = ("jobs", "launch")
"""Folders next to `src/` in a checkout that are linked into the package."""
CHECKED_OUT = ("src/detour", *DOORS)
KINDS = (".py", ".typed", ".css", ".html", ".md", ".yaml")
_STEERING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""Variables set by git hooks that would make git use another repository."""


class CodeFiles(NamedTuple):
    files: dict[Path, Path]
    """Path inside the package -> the file."""
    left_out: tuple[str, ...]
    """Files next to them that are left out, relative to the root."""


def code_files(root: Path = CODE_ROOT) -> CodeFiles:
    tracked = _tracked(root) if is_repository(root) else None
    found = _by_kind(root) if tracked is None else tracked
    present = {place: file for place, file in found.files.items() if file.is_file()}
    return CodeFiles(dict(sorted(present.items())), tuple(sorted(found.left_out)))


def new_modules(root: Path) -> list[str]:
    """Return the modules that git neither tracks nor ignores, relative to `root`."""
    named = _listed(root, "--others", "--exclude-standard") or []
    return [name for name in named if name.endswith(".py")]


def is_repository(root: Path) -> bool:
    """Whether `root` is the top of a git repository, rather than a folder somewhere below one."""
    top = git(root, "rev-parse", "--show-toplevel")
    return top is not None and Path(os.fsdecode(top).rstrip("\n")) == root


def git(root: Path, *arguments: str, ok: tuple[int, ...] = (0,)) -> bytes | None:
    """Run git and return its output, None if git is missing or fails.

    A checkout owned by another user is trusted, which git does not do by default: its code is running already.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _STEERING}
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in ok else None


def _tracked(root: Path) -> CodeFiles | None:
    known, others = _listed(root, "--cached"), _listed(root, "--others")
    if known is None or others is None:
        return None
    new = new_modules(root)
    left_out = {name for name in others if "__pycache__" not in Path(name).parts}
    return CodeFiles({_place(name): root / name for name in (*known, *new)}, tuple(left_out.difference(new)))


def _listed(root: Path, *options: str) -> list[str] | None:
    listed = git(root, "ls-files", *options, "-z", "--", *CHECKED_OUT)
    return None if listed is None else [os.fsdecode(name) for name in listed.split(b"\0") if name]


def _place(name: str) -> Path:
    path = Path(name)
    return path if path.parts[0] in DOORS else path.relative_to("src/detour")


def _by_kind(root: Path) -> CodeFiles:
    package = root / "src" / "detour"
    if not package.is_dir():
        package = root / "detour"
    found = {file.relative_to(package): file for file in _walk(package)}
    taken = {place: file for place, file in found.items() if file.suffix in KINDS}
    return CodeFiles(taken, tuple(str(found[place].relative_to(root)) for place in found.keys() - taken.keys()))


def _walk(package: Path) -> Iterator[Path]:
    """Yield all files except configs, which no job reads; of links to folders, only those in `DOORS` are followed."""
    for top in (package, *(package / door for door in DOORS if (package / door).is_symlink())):
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in ("__pycache__", "configs")]
            yield from (Path(folder, name) for name in names)
