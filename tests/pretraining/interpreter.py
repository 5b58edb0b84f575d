"""Runs a module in which Triton interprets its kernels on the CPU.

It is a separate process, since Triton decides at its import whether it interprets, and torch for CPUs comes without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TRITON = Path(sys.prefix) / "triton"
"""Installed there by `make test`, where torch does not find it. Elsewhere the environment's own is used."""


def interpreted(module: str, *arguments: str) -> list[Any]:
    """Return what the module prints: lines of JSON."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(TRITON), *sys.path])
    finished = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]
