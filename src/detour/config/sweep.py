"""A sweep: a recipe and axes of changes, expanded into one recipe per chain, with readable names.

    name: decay-lengths
    recipe: ../recipes/moderncamembert-bio-base.yaml
    names: "{recipe}-{arm}-decay-{decay}"
    axes:
      arm: {cases: {clm: {}, mlm: {phases.clm: {objective: masked, masking_rate: 0.3}}}}
      decay: {key: phases.mlm.tokens, values: [0.25B, 1B, 2B]}

All combinations of all axes are run, except those in `exclude`; axes grouped by `zip` advance together. Changes merge
into the recipe as an extending file would; the key `recipe` in a case names another recipe file. `sweeps` includes the
chains of other sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from detour.config.layers import read_layers
from detour.config.problems import KeyPath, Problem, RecipeError, shown, similar_file
from detour.config.sweep_axes import Point, axis_points, label_of, zipped
from detour.config.sweep_conflicts import refuse_hidden_changes, refuse_hidden_overrides
from detour.config.sweep_file import SEED_AXIS, SweepFile
from detour.config.validation import place, validate
from detour.config.yaml_source import Node
from detour.paths import written_path
from detour.text import suggestion

MAX_SWEEPS = 10


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as read; `expand` makes its recipes."""

    path: Path
    file: SweepFile
    tree: Node
    axes: tuple[tuple[Point, ...], ...]
    """One sequence of points per axis or group, those that choose the recipe first."""
    overrides: tuple[str, ...]
    """`key=value` overrides from the command line, applied to every recipe."""
    sweeps: tuple[Sweep, ...]

    @property
    def name(self) -> str:
        return self.file.name

    def chain_name(self, labels: Mapping[str, str], recipe: str) -> str:
        """Return the name of the chain with these labels by axis; an axis may be called `recipe` or `sweep` too."""
        if self.file.names is None:
            axes = [*self.file.axes, SEED_AXIS] if self.file.seeds else [*self.file.axes]
            return "-".join([self.name, *(labels[axis] for axis in axes)]).lower()
        words = {"recipe": recipe, "sweep": self.name, **labels}
        parts = Formatter().parse(self.file.names)
        return "".join(text + (words[field] if field else "") for text, field, _, _ in parts).lower()

    def problem(self, path: KeyPath, message: str) -> Problem:
        return Problem(*place(self.tree, path), message)


def is_sweep(path: Path) -> bool:
    """Whether a file, with what it extends, is a sweep. Raises RecipeError if it cannot be read."""
    root, _ = read_layers(path)
    return not {"axes", "sweeps", "recipe"}.isdisjoint(root.mapping)


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Load the sweep at `path`, whose recipes `expand` reads and checks. Raises RecipeError (exit code 2)."""
    return _load(path, tuple(overrides), ())


def _load(path: Path, overrides: tuple[str, ...], chain: tuple[Path, ...]) -> Sweep:
    tree, problems = read_layers(path)
    file = validate(SweepFile, tree, problems)
    _check(file, tree)
    others = []
    for index, name in enumerate(file.sweeps):
        where = place(tree, ("sweeps", index))
        other = Path(where[0].file).parent / written_path(name)
        route = (*chain, path, other)
        if other.resolve() in [step.resolve() for step in route[:-1]] or len(route) > MAX_SWEEPS:
            way = " -> ".join(shown(step) for step in route)
            raise RecipeError([Problem(*where, f"goes round in a circle: {way}")])
        if not other.exists():
            raise RecipeError([Problem(*where, f"no such file: {name}{similar_file(other)}")])
        others.append(_load(other, overrides, (*chain, path)))
    axes = axis_points(file, tree)
    refuse_hidden_overrides(overrides, axes, path)
    points = zipped(file, axes)
    points.sort(key=lambda axis: not any(point.recipe for point in axis))
    refuse_hidden_changes(file, {name: axes[name] for group in points for name in group[0].labels})
    return Sweep(path, file, tree, tuple(points), overrides, tuple(others))


def _check(file: SweepFile, tree: Node) -> None:
    """Check what the model cannot: the template, the labels, and that there is a recipe to start from."""
    problems = []
    known = [*file.axes, "recipe", "sweep", *([SEED_AXIS] if file.seeds else [])]
    try:
        used = [
            (field, form or kind) for _, field, form, kind in Formatter().parse(file.names or "") if field is not None
        ]
        said = [f"`{{{field}}}` is not an axis{suggestion(field, known)}" for field, _ in used if field not in known]
        said += [f"a format of `{field}` has no meaning here: write `{{{field}}}`" for field, form in used if form]
    except ValueError as error:
        said = [f"is not a template: {error}"]
    problems += [Problem(*place(tree, ("names",)), message) for message in said]
    switches = [
        name for name, axis in file.axes.items() if any("recipe" in case for case in (axis.cases or {}).values())
    ]
    if len(switches) > 1:
        problems.append(Problem(*place(tree, ("axes", switches[1])), f"`{switches[0]}` already chooses the recipe"))
    whole = any(all("recipe" in case for case in (file.axes[name].cases or {}).values()) for name in switches)
    if file.recipe is None and not whole and (file.axes or file.seeds or not file.sweeps):
        problems.append(Problem(*place(tree, ()), "recipe: is missing: name the file that the chains start from"))
    problems += _repeated_labels(file, tree)
    problems += _empty_axes(tree)
    if problems:
        raise RecipeError(problems)


def _empty_axes(tree: Node) -> Iterator[Problem]:
    """Find axes and cases of nothing, which would be left out unseen; a null that removes one is meant."""
    for name, axis in _below(tree, "axes").items():
        if axis.value is None and not axis.whole:
            yield Problem(*place(tree, ("axes", name)), "is empty: write `key` and `values`, or `cases`")
        for label, case in _below(axis, "cases").items():
            if case.value is None and not case.whole:
                where = place(tree, ("axes", name, "cases", label))
                yield Problem(*where, "is empty: write `{}` for a case without changes")


def _below(node: Node, key: str) -> Mapping[str, Node]:
    child = node.mapping.get(key)
    return child.mapping if child else {}


def _repeated_labels(file: SweepFile, tree: Node) -> list[Problem]:
    """Find labels that an ungrouped axis repeats; in a group, another axis may distinguish the chains."""
    together = {name for group in file.zip for name in group}
    problems = []
    for name, axis in file.axes.items():
        if axis.values is None or name in together:
            continue
        labels = [label.lower() for label in axis.labels or map(label_of, axis.values, range(len(axis.values)))]
        written = "labels" if axis.labels else "values"
        problems += [
            Problem(*place(tree, ("axes", name, written, index)), f"`{label}` appears twice: give `labels` that differ")
            for index, label in enumerate(labels)
            if label in labels[:index]
        ]
    return problems
