"""Field types of the YAML files, and the base of all models: immutable, unknown keys refused.

Quantities are accepted as people write them (`10B`, `0.25B`, `20h`); see `quantities`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, wraps
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    PlainSerializer,
    model_validator,
)

from detour.canonical import digest
from detour.config.problems import EMPTY, Inconsistent, KeyPath
from detour.config.quantities import MAX_DURATION_S, parse_count, parse_duration_s, write_duration
from detour.errors import UserError
from detour.times import zone_of

MAX_COUNT = 10**15
Count = Annotated[int, Field(gt=0, le=MAX_COUNT), BeforeValidator(parse_count)]
"""A positive number of tokens, rows or sequences; `10B`, `100M`, `0.25B`, `3_145_728`."""
WITH_UNITS = {"units": True}
"""Context of a dump that will be read again: durations are written with their unit."""


def _dumped_duration(seconds: int, info: FieldSerializationInfo) -> int | str:
    return write_duration(seconds) if info.context == WITH_UNITS else seconds


Duration = Annotated[
    int, Field(gt=0, le=MAX_DURATION_S), BeforeValidator(parse_duration_s), PlainSerializer(_dumped_duration)
]
"""Seconds; `20h`, `90m`, `1h30`, `02:00:00`."""
Objective = Literal["causal", "masked"]
NAME_FORM = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_FORM)]
"""A lower-case name, valid for folders, job names and Slurm comments."""


def _is_no_switch(value: object) -> object:
    """Refuse booleans, which pydantic would accept as 0 and 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, found {'true' if value else 'false'}")
    return value


_Checked = BeforeValidator(_is_no_switch)
Number = Annotated[float, _Checked]
Positive = Annotated[float, Field(gt=0), _Checked]
NotNegative = Annotated[float, Field(ge=0), _Checked]
Fraction = Annotated[float, Field(ge=0, le=1), _Checked]
BelowOne = Annotated[float, Field(ge=0, lt=1), _Checked]
PositiveFraction = Annotated[float, Field(gt=0, le=1), _Checked]
ProperFraction = Annotated[float, Field(gt=0, lt=1), _Checked]
Whole = Annotated[int, Field(ge=0), _Checked]
PositiveWhole = Annotated[int, Field(gt=0), _Checked]
Seed = Annotated[int, Field(ge=0, lt=2**32), _Checked]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return pattern


def _has_letters(text: str) -> str:
    if not text.strip():
        raise ValueError(EMPTY)
    return text


def _is_known(time_zone: str) -> str:
    try:
        zone_of(time_zone)
    except UserError as error:
        raise ValueError(str(error)) from None
    return time_zone


def _separates(text: str) -> str:
    if len(text) != 1 or text in '"\r\n':
        raise ValueError(f'{text!r} separates no fields: write one character, as "," or "\\t"')
    return text


Filled = Annotated[str, AfterValidator(_has_letters)]
"""A non-empty name in a file or on a hub, of any form."""
Separator = Annotated[str, AfterValidator(_separates)]
"""Field separator of a CSV file."""
Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression, checked when the recipe is read."""
TimeZone = Annotated[str, AfterValidator(_is_known)]
"""A name from the tz database: `UTC`, `Europe/Paris`."""


def added(default: Any, **constraints: Any) -> Any:
    """Return a field that was added to recipes later. It is not dumped at its default, so it does not change the keys
    of stages that were planned before."""
    return Field(default=default, exclude_if=lambda value: value == default, **constraints)


class Written(BaseModel):
    """Base of everything read from YAML: immutable; unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """The model as JSON values, including defaults. It is cached and must not be changed."""
        return self.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """A digest that is equal for equal content, by which plans recognise shared parts."""
        return digest(self.as_json)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As in pydantic, but without the values cached before the update."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("as_json", "digest"):
            copied.__dict__.pop(name, None)
        return copied


Problems = Iterable[tuple[KeyPath, str]]
"""What a check finds, each with its path below the model."""


def rule(find: Callable[[Any], Problems]) -> Any:
    """Make a validator of a method that finds problems between keys.

    Each rule runs on its own: one that needs a value which is wrong itself hides nothing that the others find.
    """

    @wraps(find)
    def check(self: Any) -> Any:
        if problems := list(find(self)):
            raise Inconsistent(problems)
        return self

    return model_validator(mode="after")(check)


def repeated(key: str, names: Sequence[str | int]) -> list[tuple[KeyPath, str]]:
    """Return a problem for each item of the list `key` whose name an earlier item has."""
    return [
        ((key, index), f"`{name}` appears twice: {key if key == 'seeds' else 'names'} must be unique")
        for index, name in enumerate(names)
        if name in names[:index]
    ]


class File(Written):
    """A file on disk (`path`, globs allowed, relative to the YAML file that names it) or inside a Python package."""

    path: str
    """File or glob pattern; relative to the YAML file that names it, or to `package`."""
    package: str | None = None
    """Importable package that ships the file; `path` is then relative to the package."""
