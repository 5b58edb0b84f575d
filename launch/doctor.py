"""`detour doctor`: whether the profile agrees with the site, and jobs can run from here. Changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from detour.config.loading import load_cluster, profile_path
from detour.doctor.check import check
from detour.doctor.tasks import check_tasks_of
from detour.errors import UserError
from detour.launch.cluster_option import cluster_name_option
from detour.launch.options import json_option, workspace_option
from detour.launch.text.doctor import doctor_json, render_doctor
from detour.launch.text.doctor_tasks import render_tasks, tasks_json
from detour.launch.text.screen import columns, show, show_json
from detour.ledger.workspace import Workspace


@click.command()
@cluster_name_option("The profile: a name or a file.", default="local", show_default=True)
@click.option("--tasks", type=Path, metavar="RECIPE", help="Check only the files of a recipe's tasks.")
@workspace_option
@json_option
def command(cluster: str, tasks: Path | None, workspace: Workspace, as_json: bool) -> None:
    """Check a profile against the live site, and this environment.

    Exit code 2 if something must be changed before jobs can run; unknown facts do not count. With --tasks, reads the
    tasks of a recipe or a sweep, and reports for each what is there or what to put where.
    """
    if tasks is not None:
        checks = check_tasks_of(tasks)
        if as_json:
            show_json(tasks_json(checks))
        else:
            show(render_tasks(checks, columns()))
        if any(one.state != "ready" for one in checks):
            sys.exit(UserError.exit_code)
        return
    checked = check(load_cluster(cluster), profile_path(cluster), workspace)
    if as_json:
        show_json(doctor_json(checked))
    else:
        show(render_doctor(checked, columns()))
    if checked.has_problem:
        sys.exit(UserError.exit_code)
