"""Checks between the keys of a document that has mistakes, so that they are reported with those mistakes.

Pydantic checks a model only once all of its fields are valid. Here each wrong or missing value is replaced by one that
no check can object to, and the checks of the models around it run on the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from detour.config.annotations import items_in, models_in
from detour.config.problems import Inconsistent, KeyPath


class _Unknown:
    """A wrong or missing value: every comparison with it is false, as with NaN, and no message can contain it."""

    def _same(self, *_: object) -> _Unknown:
        return self

    def _false(self, _: object) -> bool:
        return False

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a wrong value has no content")

    def __getattr__(self, _: str) -> _Unknown:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __getitem__ = __call__ = _same
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _false
    __format__ = __str__ = __iter__ = __len__ = _refuse
    __hash__ = object.__hash__


def further_problems(
    model: type[BaseModel], plain: object, errors: Sequence[ErrorDetails]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield the paths and messages of checks that fail whatever the values in `errors` should have been.

    A problem of a mapping as a whole is left out if a key in it is unknown, which is probably the missing one misspelt.
    """
    wrong = {tuple(error["loc"]) for error in errors}
    misspelt = {tuple(error["loc"])[:-1] for error in errors if error["type"] == "extra_forbidden"}
    found: list[tuple[KeyPath, str]] = []
    _build(model, plain, (), wrong, found)
    yield from (problem for problem in found if problem[0] not in wrong | misspelt)


def _build(annotation: Any, value: Any, path: KeyPath, wrong: set[KeyPath], found: list[tuple[KeyPath, str]]) -> Any:
    """Return `value` as far as it is valid, and collect what its checks and those of the models in it find."""
    if not any(error[: len(path)] == path for error in wrong):
        try:
            return TypeAdapter(annotation).validate_python(value)
        except ValidationError:  # an item of a list that is too long, of which nothing else is reported
            return _Unknown()
    models, items = models_in(annotation), items_in(annotation)
    if len(models) == 1 and isinstance(value, Mapping):  # of a union of several, it is not known which was meant
        (model,) = models
        fields = {name: _field(field, value, (*path, name), wrong, found) for name, field in model.model_fields.items()}
        built = model.model_construct(**fields)
        found += _objections(built, path)
        return built
    if len(items) == 1 and isinstance(value, list) and value:
        return tuple(_build(items[0], one, (*path, index), wrong, found) for index, one in enumerate(value))
    return _Unknown()


def _field(
    field: FieldInfo, values: Mapping[str, Any], path: KeyPath, wrong: set[KeyPath], found: list[tuple[KeyPath, str]]
) -> Any:
    name = path[-1]
    if name not in values:
        return _Unknown() if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    return _build(Annotated[field.annotation, field], values[str(name)], path, wrong, found)


def _objections(built: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Run the model's own checks, each on its own; one that needs an unknown value finds nothing."""
    for check in type(built).__pydantic_decorators__.model_validators.values():
        if check.info.mode != "after":
            continue
        try:
            check.func(built)
        except Inconsistent as error:
            yield from (((*path, *below), message) for below, message in error.problems)
        except ValueError as error:
            yield path, str(error)
        except Exception:  # noqa: BLE001 - whatever the check did with an unknown value
            continue
