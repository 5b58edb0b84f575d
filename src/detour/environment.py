"""What a job runs on: Python and packages, compared with those at its submission, and the processor. No torch.

None of this enters a stage's key, but a stage runs only in the environment that its chain was submitted from: with
another interpreter or torch, equal keys could give different results.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VARIABLE = "DETOUR_EXPECTED"
"""Environment variable of a job with `expected_environment()` as JSON."""
DECISIVE = ("torch", "transformers", "mosaicml")
"""Packages that affect the result; a job with another version of them is refused."""
NOTED = ("tokenizers", "numpy", "submitit")


def expected_environment(*, cuda: bool) -> dict[str, Any]:
    """Return the versions in this environment for the job to compare, None for packages that are not installed.

    `cuda`: whether the job's GPUs must be usable by torch; False if they exist in name only.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in (*DECISIVE, *NOTED)},
        "cuda": cuda,
    }


def installed(name: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the differences that may affect the result and the others, one phrase each.

    An expected None matches anything. Python's patch release and a wheel's build (`+cu130`, `+cpu`) may differ.
    """
    decisive: list[str] = []
    others: list[str] = []
    if _minor(expected["python"]) != _minor(found["python"]):
        decisive.append(f"Python {found['python']} instead of {expected['python']}")
    for name, wanted in expected["packages"].items():
        there = found["packages"].get(name)
        if wanted is None or (there is not None and _release(there) == _release(wanted)):
            continue
        phrase = f"{name} {there or 'missing'} instead of {wanted}"
        (decisive if name in DECISIVE else others).append(phrase)
    return decisive, others


def _minor(python: str) -> list[str]:
    return python.split(".")[:2]


def _release(version_text: str) -> str:
    return version_text.partition("+")[0]


def first_field(path: Path, name: str) -> str | None:
    """The value of the first `name : value` line of a file under /proc, None if there is none."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def cpu_model() -> str | None:
    """The processor's name, None where the kernel has none, as on ARM."""
    return first_field(Path("/proc/cpuinfo"), "model name")
