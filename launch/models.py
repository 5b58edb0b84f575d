"""`detour models`: versions, aliases and lineage of the models that chains made."""

from __future__ import annotations

import click

from detour.launch.options import json_option, metric_option, workspace_option, written_workspace_option
from detour.launch.text.compare import comparison_lines
from detour.launch.text.models import show_lineage, show_moved, show_versions
from detour.launch.text.screen import columns, show
from detour.ledger.workspace import Workspace
from detour.models.aliasing import promote_version, roll_back
from detour.models.comparing import compare_versions, mean_scores
from detour.models.lineage import lineage
from detour.models.versions import find_version, model_versions

why_option = click.option("--why", metavar="REASON", help="Recorded in the ledger.")


@click.group(invoke_without_command=True)
@workspace_option
@json_option
@click.pass_context
def command(context: click.Context, workspace: Workspace, as_json: bool) -> None:
    """List versions of models; show, compare, promote or roll one back.

    A version is NAME@KEY or NAME@ALIAS; NAME alone is what the chain's recipe makes now. See docs/models.md.
    """
    context.default_map = {name: {"workspace": str(workspace.root)} for name in command.commands}
    if context.invoked_subcommand is None:
        versions = model_versions(workspace)
        show_versions(versions, mean_scores(workspace, versions), as_json=as_json)


@command.command("show")
@click.argument("version")
@workspace_option
@json_option
def show_one(version: str, workspace: Workspace, as_json: bool) -> None:
    """Trace a version back to its data, recipe, code and jobs."""
    found = find_version(workspace, version)
    show_lineage(found, str(workspace.output(found.export)), lineage(workspace, found.export), as_json=as_json)


@command.command()
@click.argument("versions", nargs=-1, required=True, metavar="VERSION...")
@workspace_option
@metric_option
@click.option("--common", is_flag=True, help="Only tasks and seeds that all versions have.")
def compare(versions: tuple[str, ...], workspace: Workspace, metric: str | None, common: bool) -> None:
    """Compare versions by their scores.

    NAME alone stands for all its versions.
    """
    show(*comparison_lines(compare_versions(workspace, versions, metric, common=common), columns()))


@command.command()
@click.argument("version")
@click.option("--to", "alias", default="production", show_default=True, help="The alias to point at it.")
@why_option
@written_workspace_option
def promote(version: str, alias: str, why: str | None, workspace: Workspace) -> None:
    """Point an alias at a version, after checking all its digests."""
    show_moved(promote_version(workspace, version, alias, why))


@command.command()
@click.argument("model")
@click.option("--alias", default="production", show_default=True, help="The alias to point back.")
@why_option
@written_workspace_option
def rollback(model: str, alias: str, why: str | None, workspace: Workspace) -> None:
    """Point an alias back at its previous version."""
    show_moved(roll_back(workspace, model, alias, why))
