"""Recipes of a file, whether it is a sweep or a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detour.config.expansion import expand
from detour.config.loading import load_recipe
from detour.config.models import Recipe
from detour.config.sweep import is_sweep, load_sweep


def load_chains(path: Path, overrides: Sequence[str] = ()) -> list[Recipe]:
    return expand(load_sweep(path, overrides)) if is_sweep(path) else [load_recipe(path, overrides)]
