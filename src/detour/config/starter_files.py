"""A user's first files: a commented recipe and cluster profile, made from `configs/templates`."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from detour.config.fields import NAME_FORM
from detour.config.loading import is_name, load_cluster, load_recipe
from detour.config.roots import config_roots
from detour.config.yaml_source import resolve_scalar
from detour.errors import UserError
from detour.files import write_new

RECIPE, CLUSTER = "my-recipe", "my-cluster"


class Started(NamedTuple):
    recipe: Path
    cluster: Path


def start(folder: Path, recipe: str = RECIPE, cluster: str = CLUSTER) -> Started:
    """Write both files, or neither, under `folder`/configs, where they are found by name, and load them.

    Nothing is overwritten. Raises UserError if a name is not allowed or one of the files exists.
    """
    made = Started(
        folder / "configs" / "recipes" / f"{recipe}.yaml", folder / "configs" / "clusters" / f"{cluster}.yaml"
    )
    for name in (recipe, cluster):
        if not re.fullmatch(NAME_FORM, name) or not is_name(name):
            raise UserError(
                f"{name!r}: expected a name of lower-case letters, digits, `.`, `_` and `-`, 64 at most, a letter or"
                " digit first and no `.yaml` last; choose another with --recipe or --cluster"
            )
        if not isinstance(resolve_scalar(name), str):
            raise UserError(
                f"{name!r}: YAML reads it as another type than text; choose another with --recipe or --cluster"
            )
    for path, option in ((made.recipe, "--recipe"), (made.cluster, "--cluster")):
        if path.exists():
            raise UserError(f"{path}: exists already and was not changed; choose another name with {option}")
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
    """Write a new file. Raises UserError if it cannot be written or exists by now."""
    try:
        write_new(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
