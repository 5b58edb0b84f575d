"""Several seeds of a task on a CPU at once, in processes forked after the imports and the reading they share.

This shares a start that takes half as long as a small fine-tuning. Nothing may have been computed before, because
OpenMP's threads do not survive a fork; and no GPU may be used, because CUDA does not survive it either.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkProcess

from detour.errors import Interrupted
from detour.imports import uncollected
from detour.jobs.concurrent_seeds import joint_exit_code
from detour.jobs.log import LOGGER
from detour.jobs.signals import STOP_SIGNALS, forwarding

Run = Callable[[Sequence[str]], int]
"""Runs stages in turn; returns an exit code."""


def run_forked(run: Run, shares: Sequence[Sequence[str]], prepare: Callable[[], None]) -> int:
    """Run each share in its own process, all at the same time; returns one exit code when all have ended.

    prepare  imports and reads, before the fork, what the shares have in common; if it fails, each share does so itself

    A signal to stop is forwarded to each; one that comes during the preparation, once they have begun. If one fails,
    the others continue.
    """
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_run_share, args=(run, share)) for share in shares]
    with forwarding(lambda number: _send(children, number)) as begin:
        _try(prepare)
        with _stop_signals_held_back():
            for child in children:
                child.start()
        begin()
        for child in children:
            child.join()
    return joint_exit_code([1 if child.exitcode is None else child.exitcode for child in children])


def _try(prepare: Callable[[], None]) -> None:
    try:
        with uncollected():
            prepare()
    except Exception as error:  # noqa: BLE001  each share meets it again, and records it
        LOGGER.warning("each seed reads its task itself: %s", error)


def _run_share(run: Run, share: Sequence[str]) -> None:
    for number in STOP_SIGNALS:  # until a stage begins and handles them
        signal.signal(number, lambda *_: sys.exit(Interrupted.exit_code))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    sys.exit(run(share))


def _send(children: Sequence[ForkProcess], number: int) -> None:
    for child in children:
        if child.pid is not None and child.exitcode is None:
            os.kill(child.pid, number)


@contextmanager
def _stop_signals_held_back() -> Iterator[None]:
    """Block signals to stop: a newly forked child would handle them as this process does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
