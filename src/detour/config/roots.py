"""Find recipes, sweeps, clusters, benchmarks and budgets by name, in the folders called `configs`."""

from __future__ import annotations

import os
from pathlib import Path

SHIPPED = (Path(__file__).resolve().parents[1] / "configs").resolve()


def find_named(folder: str, name: str, beside: Path | None = None) -> tuple[Path | None, list[str]]:
    """Find `configs/<folder>/<name>.yaml` in the nearest `configs` above `beside`, in `./configs`, then as shipped.

    Returns the file, or None with the names that exist.
    """
    known: set[str] = set()
    for root in config_roots(beside):
        candidate = root / folder / f"{name}.yaml"
        if os.path.isfile(candidate):  # noqa: PTH113 - a name too long for a file is unknown, not an error
            return candidate, []
        known.update(path.stem for path in (root / folder).glob("*.yaml") if path.is_file())
    return None, sorted(known)


def config_roots(beside: Path | None = None) -> list[Path]:
    """Return the folders that hold `recipes`, `benchmarks`, `clusters`..., nearest first, without duplicates."""
    roots: list[Path] = []
    if beside is not None:
        above = Path(os.path.abspath(beside)).parents  # noqa: PTH100 - symbolic links stay as written
        roots += [parent for parent in above if parent.name == "configs"][:1]
    roots += [Path.cwd() / "configs", SHIPPED]
    return [root for index, root in enumerate(roots) if root.is_dir() and root not in roots[:index]]
