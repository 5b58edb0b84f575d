"""A user's first files: a recipe and a cluster profile with comments, made from `configs/templates`."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from detour.config.layers import config_roots
from detour.config.loading import load_cluster, load_recipe
from detour.errors import UserError
from detour.files import write_new

RECIPE, CLUSTER = "my-recipe", "my-cluster"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""As recipes and profiles may be called."""


class Started(NamedTuple):
    recipe: Path
    cluster: Path


def start(folder: Path, recipe: str = RECIPE, cluster: str = CLUSTER) -> Started:
    """Write both, or none, under `folder`/configs, where their names find them, and load them. Nothing is overwritten.

    Raises UserError for a name that no recipe can have, and where one of the two is there.
    """
    made = Started(
        folder / "configs" / "recipes" / f"{recipe}.yaml", folder / "configs" / "clusters" / f"{cluster}.yaml"
    )
    for name in (recipe, cluster):
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{name!r}: expected a name of lower-case letters, digits, `.`, `_` and `-`, 64 at most, a letter or"
                " digit first; choose another with --recipe or --cluster"
            )
    for path, option in ((made.recipe, "--recipe"), (made.cluster, "--cluster")):
        if path.exists():
            raise UserError(f"{path}: is there already, and is left as it is; choose another name with {option}")
    contents = _template("recipe", recipe), _template("cluster", cluster)
    with ExitStack() as undone:
        for path, text in zip(made, contents, strict=True):
            _write(path, text)
            undone.callback(path.unlink)
        load_recipe(made.recipe)
        load_cluster(str(made.cluster))
        undone.pop_all()
    return made


def _template(what: str, name: str) -> str:
    for root in config_roots():
        path = root / "templates" / f"{what}.yaml"
        if path.is_file():
            return path.read_text().replace("NAME", name)
    raise UserError(f"configs/templates/{what}.yaml is not among the files of detour: install it again")


def _write(path: Path, text: str) -> None:
    """Raises UserError where it cannot be, or another has just made one."""
    try:
        write_new(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
