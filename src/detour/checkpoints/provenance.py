"""Where a result came from: the code that ran, the packages it ran on, and the machine. Standard library only.

None of this enters a stage's key; it is what one compares when equal keys gave unequal results.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from detour.checkpoints.code_files import CHECKED_OUT, CODE_ROOT, git, is_repository, new_modules
from detour.environment import installed

SNAPSHOT = "snapshot.json"
"""File at the root of a code snapshot that says what it was taken from; recorded as it is."""
PATCH = "changes.patch"
"""Beside it: what the snapshot had beyond its commit."""


def provenance() -> dict[str, Any]:
    code = {**code_version(), "version": installed("detour")}
    return {"code": code, "python": sys.version, "packages": packages(), "machine": machine()}


def code_version(root: Path = CODE_ROOT) -> dict[str, Any]:
    """Version of the code under `root`; every value is None where it cannot be known.

    git_commit    the commit checked out, when `root` is the top of a git repository
    diff_sha256   digest of what differs from that commit in the code, None when nothing does
    snapshot      content of the snapshot's own record, when the code runs from one
    """
    commit = git(root, "rev-parse", "HEAD") if is_repository(root) else None
    changes = uncommitted_changes(root) if commit else b""
    return {
        "git_commit": commit.decode().strip() if commit else None,
        "diff_sha256": hashlib.sha256(changes).hexdigest() if changes else None,
        "snapshot": _read_json(root / SNAPSHOT),
    }


def uncommitted_changes(root: Path = CODE_ROOT) -> bytes:
    """A patch from the commit to the code as it is; empty when there is none.

    Taken from git, or from the snapshot that the code under `root` is. Of the same files as a snapshot: it goes
    with every checkpoint.
    """
    if (root / PATCH).is_file():
        return (root / PATCH).read_bytes()
    if not is_repository(root):
        return b""
    diff = ("diff", "--binary", "--no-color", "--no-ext-diff")
    # `--no-index` answers 1 where files differ, which a new file always does.
    additions = [git(root, *diff, "--no-index", os.devnull, name, ok=(0, 1)) for name in new_modules(root)]
    return b"".join(filter(None, [git(root, *diff, "HEAD", "--", *CHECKED_OUT), *additions]))


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
