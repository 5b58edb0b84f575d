"""From what a person typed to a plan: loads the recipe, looks at the files it names, and plans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detour.corpus.files import resolve_files
from detour.errors import UserError
from detour.files import content_fingerprint
from detour.plan.build import Content, Plan, Planner
from detour.recipe.loading import load_recipe
from detour.recipe.models import File, Recipe


def load_plan(recipe_path: Path, overrides: Sequence[str]) -> tuple[Recipe, Plan]:
    """Raises RecipeError for a bad recipe; files that are not on this machine are noted in the plan."""
    recipe = load_recipe(recipe_path, overrides)
    return recipe, Planner(inspect_entry).plan(recipe)


def inspect_entry(entry: File | str) -> Content | None:
    """What is behind a recipe's file entry or `pretrained` id, as `detour.plan.build.Inspect` asks."""
    if isinstance(entry, str):
        return _folder(Path(entry))
    try:
        paths = tuple(resolve_files(entry))
    except UserError as error:
        return Content((), (), missing=str(error))
    return _content(paths)


def _content(paths: tuple[Path, ...]) -> Content:
    fingerprints = tuple(content_fingerprint(path) for path in paths)
    return Content(paths, fingerprints, sum(path.stat().st_size for path in paths))


def _folder(folder: Path) -> Content | None:
    """A local model or tokenizer; None when it is no folder, and so a hub id."""
    if not folder.is_dir():
        if folder.is_absolute():
            return Content((), (), missing=f"{folder}: no such folder")
        return None
    return _content(tuple(sorted(path for path in folder.rglob("*") if path.is_file())))
