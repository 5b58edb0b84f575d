"""Where a result came from: the code that ran, the packages it ran on, and the machine. Standard library only.

None of this enters a stage's key; it is what one compares when equal keys gave unequal results.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

SNAPSHOT = "snapshot.json"
"""File at the root of a code snapshot that says what it was taken from; recorded as it is."""
PATCH = "changes.patch"
"""Beside it: what the snapshot had beyond its commit."""
CODE_ROOT = Path(__file__).resolve().parents[3]


def provenance() -> dict[str, Any]:
    return {"code": code_version(), "python": sys.version, "packages": packages(), "machine": machine()}


def code_version(root: Path = CODE_ROOT) -> dict[str, Any]:
    """Version of the code under `root`; every value is None where it cannot be known.

    git_commit    the commit checked out, when `root` is the top of a git repository
    diff_sha256   digest of everything that differs from that commit, None when nothing does
    snapshot      content of the snapshot's own record, when the code runs from one
    """
    commit = _git(root, "rev-parse", "HEAD") if _is_repository(root) else None
    changes = uncommitted_changes(root) if commit else b""
    return {
        "git_commit": commit.decode().strip() if commit else None,
        "diff_sha256": hashlib.sha256(changes).hexdigest() if changes else None,
        "snapshot": _read_json(root / SNAPSHOT),
    }


def uncommitted_changes(root: Path = CODE_ROOT) -> bytes:
    """A patch from the commit to the code as it is, new modules included; empty when there is none.

    Taken from git, or from the snapshot that the code under `root` is.
    """
    if (root / PATCH).is_file():
        return (root / PATCH).read_bytes()
    if not _is_repository(root):
        return b""
    diff = ("diff", "--binary", "--no-color", "--no-ext-diff")
    new_modules = (_git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py") or b"").split(b"\0")[
        :-1
    ]
    # `--no-index` answers 1 where files differ, which a new file always does.
    additions = [_git(root, *diff, "--no-index", os.devnull, os.fsdecode(name), ok=(0, 1)) for name in new_modules]
    return b"".join(filter(None, [_git(root, *diff, "HEAD"), *additions]))


def packages() -> dict[str, str]:
    """Installed distributions: name -> version."""
    found = {distribution.name: distribution.version for distribution in distributions() if distribution.name}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def machine() -> dict[str, Any]:
    """What the process runs on; None where the system does not say."""
    return {
        "node": platform.node() or None,
        "system": platform.platform(),
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cpus_usable": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "nvidia_gpus": [
            _field(path, "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        ],
    }


def _is_repository(root: Path) -> bool:
    """Whether `root` itself is under version control, and not merely installed somewhere below a repository."""
    top = _git(root, "rev-parse", "--show-toplevel")
    return top is not None and Path(os.fsdecode(top).rstrip("\n")) == root


def _git(root: Path, *arguments: str, ok: tuple[int, ...] = (0,)) -> bytes | None:
    """Output of git, None when there is no git or it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in ok else None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> str | None:
    """Value of the first `name : value` line of a file under /proc."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
