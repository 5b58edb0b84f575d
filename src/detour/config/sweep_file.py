"""What a sweep file may contain (`config.sweep` has an example)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, model_validator

from detour.config.fields import Name, Seed, Written, repeated
from detour.config.problems import Inconsistent, KeyPath
from detour.text import suggestion

SEED_AXIS = "seed"
TRAINING_SEED = "seeds.training"


class Axis(Written):
    """One key with its values, or named cases of several changes each."""

    key: str | None = None
    """Dotted, as on the command line: `phases.mlm.tokens`."""
    values: tuple[Any, ...] | None = Field(default=None, min_length=1)
    labels: tuple[str, ...] | None = None
    """Labels of the values in names; by default the values as written."""
    cases: dict[str, dict[str, Any]] | None = Field(default=None, min_length=1)
    """Label -> dotted key -> value."""

    @model_validator(mode="after")
    def _one_form(self) -> Axis:
        if (self.cases is None) == (self.key is None and self.values is None):
            raise ValueError("give either `key` and `values`, or `cases`")
        if self.cases is None and (self.key is None or self.values is None):
            raise ValueError("`key` and `values` go together")
        if self.labels is not None and len(self.labels) != len(self.values or ()):
            raise Inconsistent([(("labels",), f"{len(self.labels)} labels for {len(self.values or ())} values")])
        return self


class SweepFile(Written):
    """The content of a sweep file."""

    name: Name
    description: str = ""
    recipe: str | None = None
    """The recipe that all chains start from, relative to the file that names it."""
    names: str | None = None
    """Template of the chains' names, with axes, `recipe` and `sweep` in braces; by default the sweep and all axes."""
    axes: dict[str, Axis] = Field(default={})
    zip: tuple[tuple[str, ...], ...] = ()
    """Groups of axes that advance together."""
    exclude: tuple[dict[str, Any], ...] = ()
    """Axis -> label (or list of labels); combinations that match every axis of an item are left out."""
    seeds: tuple[Seed, ...] = ()
    """Training seeds: an additional axis, `seed`."""
    sweeps: tuple[str, ...] = ()
    """Other sweep files whose chains belong to this one too."""

    @model_validator(mode="after")
    def _axes_are_there(self) -> SweepFile:
        problems = repeated("seeds", self.seeds)
        problems += _keys_of_two_axes(self)
        known = {name: len(axis.values or axis.cases or ()) for name, axis in self.axes.items()}
        if self.seeds:
            known[SEED_AXIS] = len(self.seeds)
        grouped: list[str] = []
        for index, group in enumerate(self.zip):
            problems += _unknown_axes(known, group, ("zip", index))
            lengths = {name: known[name] for name in group if name in known}
            if len(set(lengths.values())) > 1:
                lengths_by_axis = ", ".join(f"{name} has {length}" for name, length in lengths.items())
                problems.append((("zip", index), f"axes that advance together need as many values: {lengths_by_axis}"))
            for name in group:
                if name in grouped:
                    problems.append((("zip", index), f"`{name}` appears twice: an axis belongs to one group"))
                grouped.append(name)
        for index, excluded in enumerate(self.exclude):
            problems += _unknown_axes(known, excluded, ("exclude", index))
        if SEED_AXIS in self.axes and self.seeds:
            problems.append((("seeds",), "there is an axis `seed` too: keep one"))
        if problems:
            raise Inconsistent(problems)
        return self


def _keys_of_two_axes(file: SweepFile) -> list[tuple[KeyPath, str]]:
    """Find keys that two axes give values: the chains would be named for both, and have the values of one."""
    places: list[tuple[KeyPath, str]] = [
        (("axes", name, "key"), axis.key) for name, axis in file.axes.items() if axis.key
    ]
    if file.seeds:
        places.append((("seeds",), TRAINING_SEED))
    keys = [key for _, key in places]
    return [
        (at, f"another axis sets `{key}` too: keep one of them")
        for index, (at, key) in enumerate(places)
        if key in keys[:index]
    ]


def _unknown_axes(known: Mapping[str, int], names: Iterable[str], at: KeyPath) -> list[tuple[KeyPath, str]]:
    return [(at, f"no axis `{name}`{suggestion(name, list(known))}") for name in names if name not in known]
