"""Python and packages as a plan found them, to hold a job's against. Standard library only; torch is not imported.

None of this enters a stage's key, but a stage continues only in the environment that its chain was submitted from: an
interpreter or a torch that changed meanwhile would make equal keys give unequal results.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

VARIABLE = "DETOUR_EXPECTED"
"""Environment variable of a job that holds `expected_environment()` as JSON."""
DECISIVE = ("torch", "transformers", "mosaicml")
"""Packages that compute the result: another version of these refuses the job."""
NOTED = ("tokenizers", "numpy", "submitit")


def expected_environment(*, cuda: bool) -> dict[str, Any]:
    """For the job, as JSON: versions here, None for what is not installed here.

    `cuda` says that GPUs which a job holds must be usable by torch; False where they are names only.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in (*DECISIVE, *NOTED)},
        "cuda": cuda,
    }


def installed(name: str) -> str | None:
    """Version of a distribution, None where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What differs so that the result may, and what merely differs: a phrase each. None as expected fits anything.

    Python's patch release and a wheel's build (`+cu130`, `+cpu`) may differ.
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
