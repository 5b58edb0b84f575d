"""`detour doctor`: does the profile say what the site says, and can jobs run from here? Changes nothing."""

from __future__ import annotations

import sys

import click

from detour.config.loading import load_cluster, profile_path
from detour.doctor.check import check
from detour.errors import UserError
from detour.launch.options import json_option, workspace_option
from detour.launch.text.doctor import doctor_json, render_doctor
from detour.launch.text.screen import show, show_json
from detour.ledger.workspace import Workspace


@click.command()
@click.option("--cluster", "name", default="local", show_default=True, help="The profile: a name or a file.")
@workspace_option
@json_option
def command(name: str, workspace: Workspace, as_json: bool) -> None:
    """Check a profile against the live site, and this environment.

    Exit code 2 when something must be changed before jobs can run; unknown facts are no problem.
    """
    checked = check(load_cluster(name), profile_path(name), workspace)
    if as_json:
        show_json(doctor_json(checked))
    else:
        show(render_doctor(checked))
    if checked.has_problem:
        sys.exit(UserError.exit_code)
