"""Checkpoints written beside the training, which stands still only while its state is copied."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """One write at a time, in a thread: serialising, hashing and writing leave the interpreter to the training.

    What a write raises comes out of the next `start` or `wait`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Once the one before is done: a disk that is slower than the interval holds the training up, and memory holds
        one copy of the state at most."""
        self.wait()
        self._pending = self._thread.submit(write)

    def wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
