"""`detour why`: one ranked cause with its evidence, what to do, and whether a retry can help."""

from __future__ import annotations

from pathlib import Path

import click

from detour.errors import UserError
from detour.launch.completing import complete_names
from detour.launch.options import FilePath, json_option, workspace_option
from detour.launch.text.screen import columns, say, show, show_json
from detour.launch.text.why import left_out_line, why_json, why_lines
from detour.ledger.workspace import Workspace
from detour.orchestration.why import why, why_of_bundle, write_bundle
from detour.text import wrapped


@click.command()
@click.argument("name", required=False, shell_complete=complete_names)
@workspace_option
@click.option(
    "--from",
    "bundle",
    type=FilePath(allow_dash=True, path_type=Path),
    help="Diagnose from the evidence in this file; - is standard input.",
)
@click.option("--bundle", "target", type=FilePath(path_type=Path), help="Write the evidence to this file.")
@json_option
def command(name: str | None, workspace: Workspace, bundle: Path | None, target: Path | None, as_json: bool) -> None:
    """Say why a stage failed or is pending, and what to do.

    NAME is a stage (id or label), or a chain or a sweep, whose worst stages are diagnosed; without it, all chains are
    considered. --bundle writes the evidence as JSON for a support ticket; --from diagnoses such a file.
    """
    if bundle is not None:
        if name is not None:
            raise UserError("--from reads a file: leave the name out")
        found = [why_of_bundle(bundle)]
    else:
        found = why(workspace, name)
    if target is not None:
        write_bundle(target, found[0].found.evidence)
        of = f" of {found[0].stage.id}" if found[0].stage else ""
        say(f"evidence{of} written to {target}; read it before you send it: it contains the end of the log")
    if as_json:
        show_json(why_json(found, is_bundle=bundle is not None))
    else:
        show(*why_lines(found, columns()))
        names = () if name is None else (name,)
        if more := left_out_line(found, workspace.command("status", *names)):
            show("", *wrapped(more, "", columns()))
