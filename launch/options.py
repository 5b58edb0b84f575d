"""Options that several verbs share, so that they read and behave the same everywhere."""

from __future__ import annotations

import sys
from math import isfinite
from pathlib import Path
from typing import Any

import click

from detour.launch.completing import complete_names, complete_recipes, complete_sweeps
from detour.ledger.workspace import Workspace
from detour.paths import written_path


class Seconds(click.ParamType[int]):
    """A duration: `20h`, `90m`, `1h30`, `02:00:00`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from detour.config.quantities import MAX_DURATION_S, parse_duration_s

        try:
            parsed = parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        assert isinstance(parsed, int)
        if parsed > MAX_DURATION_S:
            self.fail(f"{value} is too long; at most a year (366d) is accepted.", param, ctx)
        return parsed


class FilePath(click.Path):
    """A path in which `~` is the home folder: a shell leaves it in `--out=~/report.html`.

    `-` is refused unless `allow_dash` gives it a meaning, because many programs write to standard output for it.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) == "-" and not self.allow_dash:
            self.fail("'-' is not standard input or output here; for a file of that name write './-'.", param, ctx)
        return super().convert(written_path(str(value)), param, ctx)


class Figure(click.FloatRange):
    """A number in a range, without `nan`, which click accepts in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{number} is not a number.", param, ctx)
        return number


def _found(_context: click.Context, _parameter: click.Parameter, given: Path | None) -> Workspace:
    return Workspace.find(given)


def _with_workspace_umask(context: click.Context, _parameter: click.Parameter, given: Path | None) -> Workspace:
    from detour.ledger.folders import workspace_umask  # verbs that only read start without it

    workspace = Workspace.find(given)
    context.with_resource(workspace_umask(workspace.root))
    return workspace


_workspace: dict[str, Any] = {
    "type": FilePath(readable=False, path_type=Path),
    "help": "Where results live.  [default: $DETOUR_WORKSPACE or ./workspace]",
}
workspace_option = click.option("--workspace", "-w", **_workspace, callback=_found)
written_workspace_option = click.option("--workspace", "-w", **_workspace, callback=_with_workspace_umask)
"""For verbs that write to the workspace: what they create has its group permissions."""


every_option = click.option(
    "--every",
    "every_s",
    type=Figure(0.2, 86_400.0),
    default=2.0,
    show_default=True,
    help="Seconds between refreshes.",
)
sweep_option = click.option("--sweep", shell_complete=complete_sweeps, help="Chains of this sweep.")

_names: dict[str, Any] = {
    "nargs": -1,
    "shell_complete": complete_names,
    "help": "A chain, a sweep, a stage (its id, or CHAIN/LABEL), or a pattern over their names, such as 'base-*'.",
}
names_argument = click.argument("names", required=True, metavar="NAME...", **_names)
"""What a verb is about; see `detour.planning.selection`."""
optional_names_argument = click.argument("names", metavar="[NAME]...", **_names)
stage_option = click.option("--stage", help="Only this stage of each chain, by id or label, with its dependents.")
offline_option = click.option("--offline", is_flag=True, help="Do not ask Slurm: use only markers and the ledger.")
metric_option = click.option(
    "--metric", metavar="NAME", help="Such as macro_f1.  [default: each task's primary metric]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
recipe_argument = click.argument(
    "recipe",
    type=FilePath(path_type=Path),
    shell_complete=complete_recipes,
    help="A recipe or a sweep: a file, or the name of one in ./configs or shipped with detour, such as quickstart.",
)
overrides_argument = click.argument(
    "overrides", nargs=-1, metavar="[KEY=VALUE]...", help="Changes to the recipe, such as phases.mlm.tokens=2B."
)
over_budget_option = click.option(
    "--over-budget", metavar="REASON", help="Exceed a budget's hard cap; the reason is recorded."
)


def typed_again(option: str) -> str:
    """The command as it was typed, with one more option."""
    from detour.text import pasted

    return pasted("detour", *sys.argv[1:2], option, *sys.argv[2:])
