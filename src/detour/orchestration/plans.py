"""From a recipe or a sweep to its plan: loads it, looks at the files that it names, and plans every chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from detour.budgets.book import Demand
from detour.budgets.reserve import demand_for, facts_of
from detour.config.expansion import expand
from detour.config.fields import File
from detour.config.loading import load_recipe, recipe_path
from detour.config.models import Recipe, TaskData
from detour.config.sweep import is_sweep, load_sweep
from detour.corpus.files import files_below, look_into, resolve_files
from detour.errors import UserError
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.plan import Plan
from detour.planning.sharing import SharedPlan
from detour.planning.stage import Stage
from detour.pricing.plan_price import PlanPrice
from detour.tasks.files import TABLE, task_files
from detour.tasks.splits import common_folder
from detour.tasks.supported import unsupported_tasks


@dataclass(frozen=True, slots=True)
class Planned:
    """What a file describes: the one chain of a recipe, or the chains of a sweep."""

    name: str
    description: str
    sweep: str | None
    """The sweep's name; None for a recipe."""
    recipes: tuple[Recipe, ...] = field(repr=False)
    shared: SharedPlan = field(repr=False)

    @property
    def plans(self) -> Sequence[Plan]:
        """In the order of the recipes."""
        return self.shared.plans

    @property
    def chains(self) -> tuple[str, ...]:
        return tuple(plan.chain for plan in self.plans)

    @property
    def labels(self) -> dict[str, str]:
        """Stage id -> its name for people; in a sweep with its chain, or the number of chains that need it."""
        if self.sweep is None:
            return {stage_id: stage.label for stage_id, stage in self.shared.stages.items()}
        labels = {}
        for plan in self.plans:
            for stage in plan.stages:
                uses = self.shared.uses[stage.id]
                labels[stage.id] = f"{stage.label} ({f'{uses} chains' if uses > 1 else plan.chain})"
        return labels


def load_plans(recipe_or_sweep: Path, overrides: Sequence[str] = ()) -> Planned:
    """Plan a recipe or a sweep, given by path or by name. Files missing on this machine are noted in the plans.

    Every file is read once, however many chains name it. Raises RecipeError for a bad file.
    """
    path = recipe_path(recipe_or_sweep)
    if is_sweep(path):
        sweep = load_sweep(path, overrides)
        recipes = tuple(expand(sweep))
        name, description, of_sweep = sweep.name, sweep.file.description, sweep.name
    else:
        recipe = load_recipe(path, overrides)
        recipes, name, description, of_sweep = (recipe,), recipe.name, recipe.description, None
    planner = Planner(EntryReader())
    return Planned(name, description, of_sweep, recipes, SharedPlan.of(planner.plan(recipe) for recipe in recipes))


def check_runnable(planned: Planned) -> None:
    """Raises UserError for what would only fail hours later: missing files, and `obstacles`."""
    if missing := planned.shared.missing:
        raise UserError("cannot run, because these files are missing here:\n  " + "\n  ".join(missing))
    for obstacle in obstacles(planned):
        raise UserError(obstacle)


def obstacles(planned: Planned) -> Iterator[str]:
    """Why a plan cannot be run whose files are all here: loggers that are not installed, unusable tasks."""
    for logger in dict.fromkeys(name for recipe in planned.recipes for name in recipe.training.loggers):
        if find_spec(logger) is None:
            yield f"training.loggers: {logger} is not installed: `pip install {logger}`, or leave it out"
    benchmarks = {recipe.benchmark.name: recipe.benchmark for recipe in planned.recipes if recipe.benchmark}
    for benchmark in benchmarks.values():
        if unsupported := unsupported_tasks(benchmark):
            reasons = "; ".join(f"{task}: {reason}" for task, reason in unsupported.items())
            yield f"benchmark {benchmark.name} cannot be evaluated: {reasons}"


def demand_of(planned: Planned, stages: Sequence[Stage], price: PlanPrice) -> Demand:
    """What some stages of a plan ask of the budgets."""
    chain = None if planned.sweep else planned.name
    return demand_for(stages, price.prices, price.cluster, facts_of(price.cluster, None, chain, planned.sweep))


class EntryReader:
    """An `Inspect` of `detour.planning.build` that reads each file behind file entries and `pretrained` ids once.

    Entries of different chains are different objects even if they name the same files.
    """

    def __init__(self) -> None:
        self._by_place: dict[tuple[str | None, ...], Content | None] = {}

    def __call__(self, entry: File | str) -> Content | None:
        place = _place(entry)
        if place not in self._by_place:
            self._by_place[place] = inspect_entry(entry)
        return self._by_place[place]


def _place(entry: File | str) -> tuple[str | None, ...]:
    """Equal for entries that refer to the same files."""
    if isinstance(entry, str):
        return (None, entry)
    if isinstance(entry, TaskData) and (entry.layout != TABLE or entry.hub or entry.split_files):
        return (entry.layout, entry.hub, entry.revision, entry.path, str(entry.split_files))
    return (entry.package or "", entry.path)


def inspect_entry(entry: File | str) -> Content | None:
    """The content that an entry refers to; None for a hub id."""
    if isinstance(entry, str):
        return _folder(Path(entry))
    try:
        paths = tuple(task_files(entry) if isinstance(entry, TaskData) else resolve_files(entry))
    except UserError as error:
        return Content((), (), missing=str(error))
    content = _content(paths)
    if isinstance(entry, TaskData) and (entry.split_files or entry.layout != TABLE):
        return replace(content, root=common_folder(paths))
    return content


def _content(paths: tuple[Path, ...]) -> Content:
    return Content(paths, tuple(look_into(paths)), sum(path.stat().st_size for path in paths))


def _folder(folder: Path) -> Content | None:
    """A local model or tokenizer; None if it is a hub id, since the recipe's folders are absolute."""
    if not folder.is_absolute():
        return None
    if not folder.is_dir():
        return Content((), (), missing=f"{folder}: no such folder")
    return _content(tuple(files_below(folder)))
