"""What `detour run` shows while it waits: a live tree on a terminal, one line a change elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from detour.ledger.workspace import Workspace
from detour.monitoring.status import StageRow, StatusReader
from detour.plan.build import Plan
from detour.recipe.quantities import format_duration
