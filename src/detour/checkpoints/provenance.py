"""Provenance of a result: the code, the installed packages and the machine. Standard library only.

None of this enters a stage's key; it is for comparison when equal keys gave different results.
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
from detour.environment import cpu_model, first_field, installed

SNAPSHOT = "snapshot.json"
"""File at the root of a code snapshot that describes its origin; recorded unchanged."""
PATCH = "changes.patch"
"""File next to it with the snapshot's changes since its commit."""


def provenance() -> dict[str, Any]:
    code = {**code_version(), "version": installed("detour")}
    return {"code": code, "python": sys.version, "packages": packages(), "machine": machine()}


def code_version(root: Path = CODE_ROOT) -> dict[str, Any]:
    """Return the version of the code under `root`; unknown values are None.

    git_commit    the commit checked out, if `root` is the top of a git repository
    diff_sha256   digest of the code's changes since that commit, None if there are none
    snapshot      content of the snapshot's own record, if the code runs from one
    """
    commit = git(root, "rev-parse", "HEAD") if is_repository(root) else None
    changes = uncommitted_changes(root) if commit else b""
    return {
        "git_commit": commit.decode().strip() if commit else None,
        "diff_sha256": hashlib.sha256(changes).hexdigest() if changes else None,
        "snapshot": _read_json(root / SNAPSHOT),
    }


def uncommitted_changes(root: Path = CODE_ROOT) -> bytes:
    """Return a patch from the commit to the current code; empty if there are no changes.

    Taken from git, or from the snapshot if `root` is one. It covers the same files as a snapshot, because it is stored
    with every checkpoint.
    """
    if (root / PATCH).is_file():
        return (root / PATCH).read_bytes()
    if not is_repository(root):
        return b""
    diff = ("diff", "--binary", "--no-color", "--no-ext-diff")
    # `--no-index` exits with 1 if files differ, as a new file always does.
    additions = [git(root, *diff, "--no-index", os.devnull, name, ok=(0, 1)) for name in new_modules(root)]
    return b"".join(filter(None, [git(root, *diff, "HEAD", "--", *CHECKED_OUT), *additions]))


def packages() -> dict[str, str]:
    """Return the installed distributions: name -> version."""
    parsed = [distribution.metadata for distribution in distributions()]  # each `metadata` parses a file
    found = {one["Name"]: one["Version"] for one in parsed if one["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def machine() -> dict[str, Any]:
    """Return facts about the machine, None where unknown."""
    return {
        "node": platform.node() or None,
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cpus_usable": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "nvidia_gpus": [
            first_field(path, "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        ],
    }


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
