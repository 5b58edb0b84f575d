"""Find recipes, sweeps, clusters, benchmarks and budgets by name, in the folders called `configs`."""

from __future__ import annotations

import os
from pathlib import Path

SHIPPED = (Path(__file__).resolve().parents[1] / "configs").resolve()


def find_named(folder: str, name: str, beside: Path | None = None) -> Path | None:
    """Find `configs/<folder>/<name>.yaml` in the nearest `configs` above `beside`, in `./configs`, then as shipped."""
    places = (root / folder / f"{name}.yaml" for root in config_roots(beside))
    return next(filter(os.path.isfile, places), None)  # a name too long for a file is unknown, not an error


def names_in(folder: str, beside: Path | None = None) -> list[str]:
    """Return the names that `find_named` finds, sorted."""
    files = (path for root in config_roots(beside) for path in (root / folder).glob("*.yaml"))
    return sorted({path.stem for path in files if path.is_file()})


def config_roots(beside: Path | None = None) -> list[Path]:
    """Return the folders that hold `recipes`, `benchmarks`, `clusters`..., nearest first, without duplicates."""
    roots: list[Path] = []
    if beside is not None:
        above = Path(os.path.abspath(beside)).parents  # noqa: PTH100 - symbolic links stay as written
        roots += [parent for parent in above if parent.name == "configs"][:1]
    roots += [Path.cwd() / "configs", SHIPPED]
    return [root for index, root in enumerate(roots) if root.is_dir() and root not in roots[:index]]
