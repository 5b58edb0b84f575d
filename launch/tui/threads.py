"""Work beside the view, which must answer keys while Slurm or a disk does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from threading import Thread
from typing import Any

from textual.app import App

from detour.launch.text.screen import waiting_words
from detour.scheduler.slow_clients import on_slow


class Gone(Exception):
    """The view that asked for it has ended."""


class GuardedApp(App[None]):
    """An app that ends at a bug, also of a thread; `failure` is to be raised once the terminal is given back."""

    failure: Exception | None = None

    def fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self.exit()

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """Unlike Textual's, the view also takes the terminal back after an error."""
        failed: Exception | None = None
        with super().suspend():
            try:
                yield
            except Exception as error:  # noqa: BLE001  raised once the view is back
                failed = error
        if failed is not None:
            raise failed

    def _handle_exception(self, error: Exception) -> None:
        """In place of Textual's page with all local variables."""
        self.fail(error)


def in_thread(
    app: App[Any], act: Callable[[], None], on_wait: Callable[[str], None], *, must_end: bool = False
) -> Thread:
    """Start it; unless it `must_end`, it ends with the process, since a client of Slurm may take a minute.

    `on_wait` is called in the view, with the words that name a client which does not answer.
    """
    assert isinstance(app, GuardedApp)

    def is_slow(client: str, left_s: float) -> AbstractContextManager[None]:
        with suppress(Gone):
            in_view(app, on_wait, waiting_words(client, left_s))
        return nullcontext()

    def run() -> None:
        on_slow.set(is_slow)
        with suppress(Gone):
            try:
                act()
            except Gone:
                raise
            except Exception as error:  # noqa: BLE001  the app keeps it
                in_view(app, app.fail, error)

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
