"""How long the user's own jobs have waited.

At most one sacct an hour and Slurm cluster, for all of the user's commands on this node.
"""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import orjson

from detour.errors import UserError
from detour.forecasting.waits import Shape, Wait, waits_of
from detour.ledger.cache import made_of, private_path
from detour.ledger.private import keep_private, read_private
from detour.ledger.process import user_name
from detour.ledger.workspace import Workspace
from detour.sacct.reading import Dialect, read_rows
from detour.scheduler.client_environment import site_variables
from detour.scheduler.commands import Slurm

EVERY_S = 3600.0
DAYS = 120
"""Days of history requested from sacct: sites ask users to limit what one call reads."""
NO_FORECAST = "without past jobs there is no forecast"


class History(NamedTuple):
    taken_s: float
    waits: tuple[Wait, ...]
    missing: str | None = None
    """Why there is no history, as a sentence."""


def read_history(workspace: Workspace, slurm: Slurm, now_s: float) -> History:
    """The last reading if it is recent enough, otherwise a new one."""
    kept = kept_history(workspace, slurm.cluster, now_s, EVERY_S)
    if kept is not None:
        return kept
    name = slurm.named("sacct")
    result = slurm.usage(now_s - DAYS * 86_400, now_s, [user_name()], everyone=False)
    if result.returncode != 0 or not result.stdout:
        return History(now_s, (), f"{name} failed ({result.message}): {NO_FORECAST}")
    dialect = Dialect(time_zone=datetime.now().astimezone().tzinfo or Dialect().time_zone, skip_broken=True)
    try:
        waits = waits_of(read_rows(io.StringIO(result.stdout, newline="\n"), dialect, name=name))
    except UserError as error:
        return History(now_s, (), f"{error}: {NO_FORECAST}")
    with suppress(OSError):
        content = {
            "made_of": made_of(workspace, slurm.cluster, site_variables()),
            "taken_s": now_s,
            "waits": [(wait.job, wait.account, *wait.shape, *wait[3:]) for wait in waits],
        }
        keep_private(private_path(workspace, "waits", slurm.cluster), orjson.dumps(content))
    return History(now_s, tuple(waits))


def kept_history(workspace: Workspace, cluster: str | None, now_s: float, within_s: float) -> History | None:
    """The last reading if younger than `within_s`; None also at the slightest doubt about the file."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = orjson.loads(read_private(private_path(workspace, "waits", cluster)))
        if data["made_of"] == made_of(workspace, cluster, site_variables()) and 0 <= now_s - data["taken_s"] < within_s:
            waits = (
                Wait(job, account, Shape(gpus, limit), *times) for job, account, gpus, limit, *times in data["waits"]
            )
            return History(data["taken_s"], tuple(waits))
    return None
