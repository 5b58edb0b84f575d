"""`detour retry`: runs failed stages, damaged outputs and their dependents again, from the last good checkpoint."""

from __future__ import annotations

import click

from detour.launch.job_options import job_options
from detour.launch.options import json_option, names_argument, over_budget_option, written_workspace_option
from detour.launch.submit import submit
from detour.launch.text.retry import retry_lines, show_cleared
from detour.ledger.workspace import Workspace
from detour.orchestration.requests import JobOptions
from detour.orchestration.retry import retry_orders


@click.command()
@names_argument
@written_workspace_option
@job_options(gpus="as submitted before", others="as submitted before")
@over_budget_option
@json_option
def command(
    names: tuple[str, ...], workspace: Workspace, options: JobOptions, over_budget: str | None, as_json: bool
) -> None:
    """Resubmit failed stages and damaged outputs, with their dependents.

    Checkpoints stay: the next attempt resumes from the last good one. Options default to those of the last submission.
    Chains of a cluster without Slurm are only cleared, for `detour run`.
    """
    for retry in retry_orders(workspace, names, options):
        if retry.order is None:
            show_cleared(retry, as_json=as_json)
        else:
            submit(workspace, retry.order, over_budget, as_json, retry_lines(retry))
