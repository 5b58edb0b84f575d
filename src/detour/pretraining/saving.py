"""Write checkpoints in the background: the training pauses only while its state is copied."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """Runs one write at a time in a thread; serializing, hashing and writing release the GIL.

    An exception in a write is raised by the next `start` or `wait`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Start a write after the previous one is done, so that memory never holds more than one copy of the state."""
        self.wait()
        self._pending = self._thread.submit(write)

    def wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
