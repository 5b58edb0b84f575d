"""What applies to every field of every file that users write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from detour.budgets.caps import Budget
from detour.cards.about_file import About
from detour.config.cluster import Cluster
from detour.config.fields import Written
from detour.config.models import Recipe
from detour.config.project import Project
from detour.config.sweep_file import SweepFile

FILES = (About, Budget, Cluster, Project, Recipe, SweepFile)


def models(base: type[Written] = Written) -> Iterator[type[Written]]:
    for model in base.__subclasses__():
        yield model
        yield from models(model)


def taken_for_numbers(model: type[Written], value: object) -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
        try:
            read = adapter.validate_python(value)
        except ValidationError:
            continue
        items = read if isinstance(read, tuple | list) else (read,)
        found += [name for item in items if type(item) in (int, float)]
    return found


@pytest.mark.parametrize("value", [True, [True], [True, True]])
def test_true_is_never_a_number(value: object) -> None:
    known = list(models())
    assert set(FILES) <= set(known)
    wrong = {model.__name__: names for model in known if (names := taken_for_numbers(model, value))}
    assert wrong == {}
