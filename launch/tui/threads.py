"""Work beside the view, which must answer keys while Slurm or a disk does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import Any

from textual.app import App

from detour.scheduler.slow_clients import on_slow, silent


class Gone(Exception):
    """The view that asked for it has ended."""


def in_thread(act: Callable[[], None], *, must_end: bool = False) -> Thread:
    """Start it; unless it `must_end`, it ends with the process, since a client of Slurm may take a minute."""

    def run() -> None:
        on_slow.set(silent)  # a line of its own would disturb the screen
        with suppress(Gone):
            act()

    thread = Thread(target=copy_context().run, args=(run,), daemon=not must_end)  # the context knows the app
    thread.start()
    return thread


def in_view(app: App[Any], act: Callable[..., object], *arguments: object) -> None:
    """Call it in the view's own thread, from another one. Raises Gone."""
    if not app.is_running:
        raise Gone
    try:
        app.call_from_thread(act, *arguments)
    except RuntimeError as error:
        if app.is_running:
            raise
        raise Gone from error
